"""The metrics of `evaluate` for all videos of an output folder: measured in processes, kept in Parquet, summed up.

May import media, store, evaluate and spec; the worker processes import nothing else, so they start fast and stay small.

    choice.py    what is measured
    measure.py   one row, in a worker process
    table.py     the file of all rows, and what of it still holds
    job.py       all rows of a folder
    summary.py   means and intervals
"""
