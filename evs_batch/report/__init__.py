"""`report.html`: one page about a run for people, made from its output folder alone.

May import everything below the command line. `facts` collects what the page shows; `page.html`, `page.css` and
`page.js` show it. The page needs no network: clips and contact sheets are files beside it.
"""

from evs_batch.report.build import NAME, build

__all__ = ["NAME", "build"]
