"""The measurements behind the README's figures; each prints a table and can write it as JSON.

May import everything below the command line. A new one is a file here and a command in `cli/bench.py`.
"""
