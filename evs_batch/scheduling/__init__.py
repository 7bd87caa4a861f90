"""The scheduler: a pure state machine. Events in, commands with reasons out; no clock, no Ray, no I/O.

`step.step(state, event, now_s)` is the whole interface. Which clips may begin is decided in `admission.py`, who works
on what in `dispatch.py`, who takes which role in `roles.py`, what happens after a failure in `retry.py`. `simulate.py`
drives the same code with durations instead of work. May import the standard library and `spec`.
"""
