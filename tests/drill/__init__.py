"""The drill: bad values, bad files, faults and kills, generated; `make drill` prints what became of each.

Not part of `make test`. A part is a module of this package with `cases()`; see `cases.py`.
"""
