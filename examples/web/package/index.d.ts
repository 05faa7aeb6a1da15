export {
  ARKIT_CHANNELS,
  DriverMessage,
  FaceLandmarkerResult,
  LiveDrive,
  fromFaceLandmarker,
  mirrored,
  parseMessage,
} from "./drivers.js";

/** The cause of an error. */
export type ErrorKind =
  /** The browser has no WebGPU. */
  | "no-webgpu"
  /** It has, but no adapter (blocklisted, switched off, out of memory). */
  | "no-adapter"
  /** The adapter gave no device. */
  | "no-device"
  /** The device is too small for this model. */
  | "limit"
  /** The device is gone: request another `Gpu` and load the model again. */
  | "device-lost"
  /** The device failed otherwise. */
  | "gpu"
  /** Something could not be downloaded. */
  | "network"
  /** A file or message is invalid. */
  | "format"
  /** Tensors of a weights file are missing, misshapen or make no sense. */
  | "tensors"
  /** The network's sizes are beyond the kernels' limits. */
  | "config"
  /** An argument is out of its range. */
  | "argument"
  /** A bug. */
  | "internal";

/** The error that this package throws. */
export declare class GpavatarError extends Error {
  constructor(kind: ErrorKind, message: string, options?: ErrorOptions);
  readonly kind: ErrorKind;
}

/** A WebGPU device, to be shared by models. */
export declare class Gpu {
  /** Throws `"no-webgpu"`, `"no-adapter"`, `"no-device"` or `"limit"`. */
  static request(): Promise<Gpu>;
  /**
   * Uses a device of yours: buffers, textures and the queue are then shared. No feature is needed, nor
   * more than the default limits; with `"timestamp-query"`, `Avatar.profile` works. Errors of the device
   * stay yours to watch, and it is never destroyed. Throws `"limit"`.
   */
  static fromDevice(device: GPUDevice): Promise<Gpu>;
  /** The device, for textures and pipelines of your own. */
  readonly device: GPUDevice;
  /** The adapter, as far as the browser tells. */
  readonly description: string;
  /** Whether the adapter is an implementation on the CPU. */
  readonly software: boolean;
  /** Whether `Avatar.profile` works: the device has timestamp queries. */
  readonly timestamps: boolean;
  /** Whether the device was lost. */
  readonly lost: boolean;
}

export interface Progress {
  /** Bytes so far. */
  loaded: number;
  /** Bytes in all, if the server says. */
  total?: number;
  /** Whether they come from the browser's cache. */
  cached: boolean;
}

/** Sizes of a network; the crate's `ModelConfig` has them all. */
export interface ModelConfig {
  readonly source_size: number;
  readonly plane_size: number;
  readonly plane_channels: number;
  readonly low_res_size: number;
  readonly low_res_channels: number;
  readonly output_size: number;
  readonly [name: string]: unknown;
}

export interface LoadOptions {
  /** Device to run on; a new one by default. */
  gpu?: Gpu;
  /**
   * How weights and maps are kept on the device: in 32 bits (`f32`, the default), in 16 where
   * pictures hardly change (`mixed`: about half the memory), or in 16 wherever
   * possible (`f16`). Arithmetic has 32 bits in all of them.
   */
  precision?: "f32" | "mixed" | "f16";
  /** Keep a download in the Cache API; `true` by default. */
  cache?: boolean;
  signal?: AbortSignal;
}

/** A network on a device. */
export declare class Model {
  /** Loads a weights file (safetensors, with a head model inside) and compiles all kernels. */
  static load(
    source: string | URL | ArrayBuffer | ArrayBufferView | Blob,
    onProgress?: (progress: Progress) => void,
    options?: LoadOptions,
  ): Promise<Model>;
  readonly gpu: Gpu;
  readonly config: ModelConfig;
  /** Expression channels of the head model, in its order. */
  readonly channels: readonly string[];
  /** Number of identity coefficients. */
  readonly shapeCount: number;
  /** Number of joints that a pose drives, 3 numbers each. */
  readonly jointCount: number;
  /** The kernels that run, and the size of their workspace. */
  readonly report: string;
  /** Gives its memory back. Avatars and canvases that use it keep it alive. */
  free(): void;
}

/** A camera on a sphere around the head that looks at its centre. */
export interface OrbitCamera {
  /** 10.6 by default. */
  distance?: number;
  /** Degrees; positive is above. */
  elevation?: number;
  /** Degrees; positive is towards the person's left. */
  azimuth?: number;
  /** In half picture widths; 12 by default. */
  focal?: number;
}

/** A camera by its world-to-camera matrix: 3 rows of 4 numbers, flat or nested. */
export interface MatrixCamera {
  transform: ArrayLike<number> | readonly (readonly number[])[];
  focal?: number;
}

/** The state that a frame shows. Parts that are left out are as the avatar was set. */
export interface Drive {
  /** By name (those left out are 0), or all of the model's channels in order. */
  expression?: Record<string, number> | Float32Array;
  /** Rotation of the head, axis times angle in radians: +x down, +y to its left. */
  head?: ArrayLike<number>;
  /** Instead of `head`: a triple for each of the model's driven joints. */
  pose?: ArrayLike<number>;
  camera?: OrbitCamera | MatrixCamera;
}

export interface StageTime {
  stage: string;
  milliseconds: number;
}

/** A person. */
export declare class Avatar {
  /**
   * Builds an avatar. The head should be upright and frontal, fill most of the picture, and stand
   * before black; a picture with an alpha channel is put on black. With `cameras`, pictures are
   * taken from where these stand (a matrix for each picture, `null` for a frontal one).
   */
  static fromImages(
    model: Model,
    images: readonly (Blob | ImageBitmap | ImageData)[],
    options?: {
      cameras?: readonly (readonly (readonly number[])[] | null)[];
      /** Identity coefficients of the head model: `Model.shapeCount` numbers, or none. */
      shape?: ArrayLike<number>;
    },
  ): Promise<Avatar>;
  /** Loads the result of `toBytes`. */
  static fromBytes(model: Model, bytes: ArrayBuffer | Uint8Array): Promise<Avatar>;
  readonly model: Model;
  /** Planes and identity, to be loaded without the pictures. */
  toBytes(): Promise<Uint8Array<ArrayBuffer>>;

  /** Sets channels of the expression by name, usually from 0 to 1. */
  setExpression(values: Record<string, number>): this;
  /** Sets all 52 ARKit channels in the order of `ARKIT_CHANNELS`: nothing is looked up. */
  setBlendshapes(values: ArrayLike<number>): this;
  /** Sets the head's rotation: axis times angle in radians. */
  setHead(rotation: ArrayLike<number>): this;
  /** Moves the camera; parts that are left out stay. */
  orbit(camera: OrbitCamera): this;
  /** Expression and head at rest; the camera stays. */
  reset(): this;

  /**
   * Renders onto a canvas, whose size becomes the picture's, without leaving the device. Settles
   * when the device is done: at most one frame should be awaited at a time. A transparent frame lets
   * what is behind the canvas through.
   */
  render(
    drive: Drive | null | undefined,
    canvas: HTMLCanvasElement | OffscreenCanvas,
    options?: { transparent?: boolean },
  ): Promise<void>;
  /** Renders a frame and times every stage of it on the device; needs `Gpu.timestamps`. */
  profile(
    drive?: Drive | null,
    canvas?: HTMLCanvasElement | OffscreenCanvas,
    options?: { transparent?: boolean },
  ): Promise<StageTime[]>;
  /** Renders a frame and reads it back. */
  picture(drive?: Drive | null, options?: { transparent?: boolean }): Promise<ImageData>;
  /** Renders a frame into an image file, PNG by default. */
  snapshot(options?: {
    drive?: Drive | null;
    transparent?: boolean;
    type?: string;
  }): Promise<Blob>;
  /** The avatar's three planes in false colours. */
  planes(): Promise<ImageData[]>;
  /** A frame with its intermediates. */
  inspect(
    drive?: Drive | null,
  ): Promise<{ lowRes: ImageData; depth: ImageData; picture: ImageData }>;
  /** Gives its memory back. */
  free(): void;
}

/** An avatar of an atlas' model, and the state to show; by default as it was set. */
export interface AtlasFrame {
  avatar: Avatar;
  drive?: Drive | null;
}

/**
 * Several avatars in one frame, or one: a grid of pictures without borders, in a texture that stays the
 * same over all frames.
 */
export declare class Atlas {
  /** One tile by default. Throws `"argument"` or `"limit"`. */
  constructor(model: Model, grid?: { columns?: number; rows?: number });
  readonly model: Model;
  readonly columns: number;
  readonly rows: number;
  /** Width and height of a tile in pixels. */
  readonly tileSize: number;
  /**
   * The pictures: `rgba8unorm`, also to be viewed as `rgba8unorm-srgb`; to be sampled, copied and drawn
   * on. Colours are sRGB-encoded, and multiplied by alpha where the frame is transparent.
   */
  readonly texture: GPUTexture;
  /**
   * Renders every frame into its tile, row by row from the upper left; other tiles keep their content.
   * With a canvas, all tiles are shown there, and its size becomes theirs. All work is submitted before
   * this returns: what you submit next sees the pictures. The promise settles when the device is done.
   */
  render(
    frames: readonly AtlasFrame[],
    canvas?: HTMLCanvasElement | OffscreenCanvas | null,
    options?: { transparent?: boolean },
  ): Promise<void>;
  /** Gives its memory back. */
  free(): void;
}

/** Where the tracker's networks come from: URLs, buffers or Blobs of MediaPipe's files. */
export interface TrackerFiles {
  /** `face_landmarker.task`. */
  task: string | URL | ArrayBuffer | ArrayBufferView | Blob;
  /** `selfie_segmentation.tflite`; without it backgrounds of photos stay. */
  segmentation?: string | URL | ArrayBuffer | ArrayBufferView | Blob;
}

export interface TrackerOptions {
  /** Turns left into right, as in a mirror; `false` by default. */
  mirror?: boolean;
  /**
   * How the neutral face is found, which expressions are measured from: the median of the first second
   * in which the head is still (`first-second`, the default), each channel's lowest tenth of the last
   * half minute (`running`), or only by `Tracker.calibrate` (`manual`).
   */
  calibration?: "first-second" | "running" | "manual";
  onProgress?: (progress: Progress) => void;
  /** Keep downloads in the Cache API; `true` by default. */
  cache?: boolean;
  signal?: AbortSignal;
}

/** What is measured of a face. */
export interface FaceMeasures {
  /** x, y and z of 478 landmarks in pixels of the picture, the upper left corner being (0, 0). */
  landmarks: Float32Array<ArrayBuffer>;
  /** How sure it is that there is a face, from 0 to 1. */
  presence: number;
  /** Scores in the order of `ARKIT_CHANNELS`, before any calibration. */
  scores: Float32Array<ArrayBuffer>;
}

/** A face of a picture. */
export interface StillFace extends FaceMeasures {
  /** A square crop around it on black, one of `Avatar.fromImages`' images. */
  image: ImageData;
  /** Its camera, one of `Avatar.fromImages`' cameras. */
  camera: number[][];
}

/** A video's frame. */
export interface TrackedFrame extends Partial<FaceMeasures> {
  /** Whether a face was found in it. Without one there are no measures. */
  found: boolean;
  /** What drives an avatar; a face that is lost returns to rest. Missing before the first face. */
  drive?: Drive;
}

/**
 * Finds faces in pictures, and follows one in a video, on a model's device: in a page or a worker. Frames
 * and pictures do not leave it.
 */
export declare class Tracker {
  static load(model: Model, files: TrackerFiles, options?: TrackerOptions): Promise<Tracker>;
  readonly model: Model;
  /** The surest face of a picture, or `null`. Waits for a frame that is being looked at. */
  still(picture: Blob | ImageData | CanvasImageSource): Promise<StillFace | null>;
  /**
   * Looks at a video's next frame. Frames are never queued: one that comes while another, or a still, is
   * being looked at is dropped, and the result is `undefined`. `time` is the frame's, in milliseconds;
   * by default now.
   */
  frame(
    picture: ImageData | CanvasImageSource,
    options?: { time?: number },
  ): Promise<TrackedFrame | undefined>;
  /** Takes the last face for the person's neutral one. */
  calibrate(): void;
  /** Whether left is right in drives. Can be set at any time. */
  mirror: boolean;
  /** Forgets the video and the neutral face: another one begins. */
  restart(): Promise<void>;
  /** Gives its memory back, once nothing is being looked at. */
  free(): Promise<void>;
}

/** A sequence of drives: the crate's motion JSON. */
export declare class Motion {
  constructor(json: string | object);
  readonly name: string;
  /** Seconds. */
  readonly duration: number;
  /** The drive for avatars of a model, at a time in seconds. */
  sample(model: Model, seconds: number): Drive;
  free(): void;
}
