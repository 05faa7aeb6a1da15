/** ARKit's 52 blend shapes in the order of `Avatar.setBlendshapes`. */
export declare const ARKIT_CHANNELS: readonly string[];
export declare const MESSAGE_VERSION: 1;

/** A message of a live driver, as JSON. */
export interface DriverMessage {
  version: 1;
  /** Values by ARKit name (those left out are 0), or all 52 in the order of `ARKIT_CHANNELS`. */
  blendshapes: Record<string, number> | ArrayLike<number>;
  /** Column-major 4 x 4 matrix from the head's space to the camera's; at rest without. */
  transform?: ArrayLike<number>;
  /** Milliseconds of the sender's clock. */
  time?: number;
}

/** Input of an avatar: see `Avatar.setBlendshapes` and `Avatar.setHead`. */
export interface LiveDrive {
  blendshapes: Float32Array;
  /** Axis times angle in radians. */
  head: Float32Array;
  time?: number;
}

/** The part of MediaPipe's `FaceLandmarkerResult` that is read. */
export interface FaceLandmarkerResult {
  faceBlendshapes?: { categories: { categoryName: string; score: number }[] }[];
  facialTransformationMatrixes?: { data: ArrayLike<number> }[];
}

/** Reads and checks a message. Throws a `GpavatarError` of kind `"format"`. */
export declare function parseMessage(
  message: string | DriverMessage,
  options?: { mirror?: boolean },
): LiveDrive;

/** A message from a result of MediaPipe's FaceLandmarker; `null` without such a face. */
export declare function fromFaceLandmarker(
  result: FaceLandmarkerResult,
  options?: { face?: number; time?: number },
): DriverMessage | null;

/** The rotation of a column-major 4 x 4 transform, as axis times angle in radians. */
export declare function headRotation(transform: ArrayLike<number>): Float32Array<ArrayBuffer>;

/** The same drive as a mirror shows it. */
export declare function mirrored(drive: LiveDrive): LiveDrive;
