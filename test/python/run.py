"""Runs this folder's unittest modules for vitest (python.test.ts).

    run.py --list              JSON: {module: [test id, ...]}
    run.py MODULE              one JSON line per finished test: {"id", "status": pass|fail|skip, "note"}

Each module gets a process of its own, because one that makes network namespaces moves its process into them.
"""
import json
import os
import sys
import unittest
from pathlib import Path
from typing import Any, Iterator

OUT = os.fdopen(os.dup(1), "w")
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / folder) for folder in ("echo", "probe", "bird", "images/cluster-dns", "images/ingress")]


def load(module: str) -> unittest.TestSuite:
    """The tests of one module; a module that cannot be imported is one test that fails."""
    return unittest.defaultTestLoader.loadTestsFromName(module)


def each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of nested suites."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from each(item)
        elif isinstance(item, unittest.TestCase):
            yield item


class Reporter(unittest.TestResult):
    """Prints each result when it is known; an error outside any test (setUpModule) is told for the module."""

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.failed = ""

    def report(self, test: Any, status: str, note: str = "") -> None:
        print(json.dumps({"id": test.id(), "status": status, "note": note}), file=OUT, flush=True)

    def addSuccess(self, test: Any) -> None:
        if not self.failed:
            self.report(test, "pass")

    def addSkip(self, test: Any, reason: str) -> None:
        self.report(test, "skip", reason)

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self.report(test, "fail", self.failures[-1][1])

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self.report(test, "fail", self.errors[-1][1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err:
            self.failed += f"{subtest}\n{self._exc_info_to_string(err, test)}"

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        if self.failed:
            self.report(test, "fail", self.failed)


if __name__ == "__main__":
    if sys.argv[1] == "--list":
        modules = sorted(path.stem for path in HERE.glob("*_test.py"))
        print(json.dumps({module: [test.id() for test in each(load(module))] for module in modules}))
    else:
        os.dup2(2, 1)  # what the code under test prints must not get between our lines
        load(sys.argv[1]).run(Reporter())
