"""Frames that are on the GPU already, such as a decoder's, go in and come out without a copy through the host.

pip install 'maskanim[trt]' cupy-cuda13x
python cupy_frames.py
"""

import cupy

import maskanim

FRAMES = 30

with maskanim.Animator.open(engine="trt") as animator:
    runner = animator.runner.cuda
    grey = cupy.full((720, 1280, 3), 128, cupy.uint8)  # (H, W, 3) RGB, any size from 64x64
    with runner.encode_source(grey) as source:
        runner.use(source)
    total = cupy.zeros((), cupy.float64)
    for _ in range(FRAMES):
        driving = cupy.random.randint(0, 255, (512, 512, 3), cupy.uint8)
        ticket = runner.submit([driving], to_host=False)
        result = cupy.asarray(runner.collect_on_device(ticket))  # (1, 256, 256, 3) uint8, in the runner's own buffer
        total += result.mean()
    print("mean brightness:", float(total) / FRAMES)
