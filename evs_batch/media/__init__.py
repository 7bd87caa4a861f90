"""Video in and out: probe, decode, encode, verify.

PyAV reads and writes; imageio-ffmpeg's program is the second, independent reader that verifies what we publish.
May import those two and numpy. All readers take binary file objects, so that no file can name another one.
"""
