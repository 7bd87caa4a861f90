"""The scheduler: a pure state machine. Events in, commands with reasons out; no clock, no Ray, no I/O.

`step.step(state, event, now_s)` is the whole interface. What happens after a failure is decided in `retry.py`, who
works on what in `dispatch.py`. May import the standard library and `spec`.
"""
