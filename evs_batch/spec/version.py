"""The version of the package; a run belongs to one."""

VERSION = "0.1.0"
