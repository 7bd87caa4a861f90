"""What a run would do and cost, before it is started.

May import everything below the command line. `survey` reads rows and looks at some videos, `trial` (a short run),
`table` (measured devices) or a file gives what a frame costs, and `forecast` plays the scheduler with these costs. A
new device is a table in `devices.toml`, with the command that measured it.
"""

from evs_batch.planning.plan import Asked, Plan, plan

__all__ = ["Asked", "Plan", "plan"]
