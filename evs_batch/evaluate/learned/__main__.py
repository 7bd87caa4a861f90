"""`python -m evs_batch.evaluate.learned convert FILE…`: published pickles become safetensors, beside them."""

import argparse
import sys
from pathlib import Path

from evs_batch.evaluate.learned.weights import convert_pickle
from evs_batch.spec.errors import EvsError

WRONG_USAGE = 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m evs_batch.evaluate.learned")
    commands = parser.add_subparsers(required=True)
    convert = commands.add_parser("convert", help="write the tensors of a pickle beside it as safetensors")
    convert.add_argument("files", nargs="+", type=Path)
    try:
        for path in parser.parse_args(arguments).files:
            print(convert_pickle(path))
    except EvsError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
