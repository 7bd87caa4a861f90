"""The rows of an output manifest as tasks."""

from collections.abc import Iterator
from typing import Any

from evs_batch.quality.measure import Task
from evs_batch.spec.errors import ManifestError, OutputError, nearest, printable
from evs_batch.spec.manifest import OUTPUT_COLUMNS, resolve_columns
from evs_batch.store import ledger, storage


class Tasks:
    """What there is to measure in an output folder; read anew at every pass. Raises OutputError and ManifestError."""

    def __init__(self, folder: str, reference: str | None) -> None:
        self.folder, self._reference = folder, reference
        names = ledger.column_names(folder)
        if not names:
            raise OutputError(
                folder, "holds no finished row", "name the folder that was given to `evs-batch run --output`"
            )
        self._uri = resolve_columns(names)["uri"]
        if reference and (reference not in names or reference in OUTPUT_COLUMNS):
            given = [name for name in names if name not in OUTPUT_COLUMNS]
            raise ManifestError(
                f"--reference {reference}",
                "must be a column of the input manifest",
                printable(nearest(reference, given)),
            )
        self._base = ledger.manifest_folder(folder)
        if reference and self._base is None:
            raise OutputError(
                folder, "does not say where its manifest was", "run the same `evs-batch run` again: it notes it"
            )

    def ids(self) -> list[str]:
        """Of all rows, failed ones too."""
        return [row["id"] for row in ledger.committed(self.folder, ["id"])]

    def failed(self) -> Iterator[dict[str, Any]]:
        """Rows without a result: they have a place in the table, and nothing in it."""
        for cells in ledger.committed(self.folder, ["id", "status"]):
            if cells["status"] != "success":
                yield {"id": cells["id"]}

    def __iter__(self) -> Iterator[Task]:
        columns = ["id", "status", "output_uri", "output_sha256", self._uri]
        for cells in ledger.committed(self.folder, [*columns, *([self._reference] if self._reference else [])]):
            if cells["status"] == "success":
                yield Task(
                    id=cells["id"],
                    output_uri=cells["output_uri"],
                    output_sha256=cells["output_sha256"],
                    source_uri=cells[self._uri],
                    reference_uri=self._clean(cells),
                )

    def _clean(self, cells: dict[str, Any]) -> str | None:
        """The URI of the clean video; relative ones are relative to the input manifest."""
        uri = cells[self._reference] if self._reference else None
        return storage.resolve(str(uri), self._base or "") if uri else None
