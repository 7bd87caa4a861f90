"""The only place that knows Ray: actors, the event loop, and Ray's errors as failure kinds.

The loop turns what happens into scheduler events and carries the scheduler's commands out.
"""
