"""The paper's jobs at full size on this machine's device, against a plain diffusers script: `jobs.py` runs both."""
