"""A page for the browser: drop a picture and a clip, see the result beside the masks, try the camera."""
