"""Cameras, as the crate has them: [R|T] (3, 4) with x_camera = x_world R + T."""

import numpy as np

FOCAL = 12.0
"""Focal length of generated pictures, in halves of their width."""


def orbit(distance, elevation, azimuth, roll=0.0, shift=(0.0, 0.0)):
    """Camera (3, 4) f32 around the head, as the crate's `Camera::orbit`, turned and moved aside.

    Angles in degrees; `shift` in world units across the view.
    """
    e, a, roll = np.radians([elevation, azimuth, roll])
    place = distance * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    z = -place / np.linalg.norm(place)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    c, s = np.cos(roll), np.sin(roll)
    r = np.stack([x, np.cross(z, x), z], 1) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    t = -place @ r + np.array([shift[0], shift[1], 0.0])
    return np.concatenate([r, t[:, None]], 1).astype(np.float32)


def project(points, transform, size, focal=FOCAL):
    """Pixel coordinates and depth (n, 3) f32 of points (n, 3) in a square picture of `size`."""
    camera = points @ transform[:, :3] + transform[:, 3]
    ndc = focal * camera[:, :2] / camera[:, 2:]
    return np.concatenate([size / 2 * (1 - ndc), camera[:, 2:]], 1).astype(np.float32)
