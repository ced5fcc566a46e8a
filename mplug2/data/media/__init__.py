"""Videos and images: decoding, sampling of frames, transforms."""
