"""Where objects may be, before any detector is trained: selective search, windows, and their recall.

Boxes are float32 [n, 4] as (ymin, xmin, ymax, xmax) in pixels, as in `cnnlab.data.features`. Nothing is
imported here, since worker processes that make proposals leave JAX alone.
"""
