// What the snippets of README.md take for given.

declare global {
  const model: import("gpavatar").Model;
  const avatar: import("gpavatar").Avatar;
  const you: import("gpavatar").Avatar;
  const device: GPUDevice;
  const canvas: HTMLCanvasElement;
  const video: HTMLVideoElement;
  const photo: Blob;
  const connection: RTCPeerConnection;
  const now: number;
  const landmarker: {
    detectForVideo(
      video: HTMLVideoElement,
      time: number,
    ): import("gpavatar").FaceLandmarkerResult;
  };
}

export {};
