"""``lift.query`` and ``lift.report``: the programs' answers, of the shards and the run that ``installed.sh`` makes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unittest
from pathlib import Path
from unittest import mock

# It finds the package where that is not installed.
import folders  # noqa: F401

# isort: split
import lift


def _has(name: str) -> bool:
    return Path(sys.executable).with_name(name).is_file() or shutil.which(name) is not None


SHARDS, RUN = os.environ.get("LIFT_TEST_SHARDS"), os.environ.get("LIFT_TEST_RUN")


@unittest.skipUnless(SHARDS and _has("lift-data"), "no shards in LIFT_TEST_SHARDS, or no lift-data")
class Query(unittest.TestCase):
    def test_rows_are_those_of_the_shards(self) -> None:
        rows = lift.query(SHARDS, "select class, count(*) as n from train group by class order by class")
        shards = lift.Shards(SHARDS, "train")
        counts = dict(zip(shards.class_names, (int(count) for count in shards.class_counts), strict=True))
        self.assertEqual({row["class"]: row["n"] for row in rows}, counts)
        self.assertEqual([row["class"] for row in rows], sorted(counts))

    def test_a_wrong_question_is_an_error_that_names_the_word(self) -> None:
        with self.assertRaises(lift.LiftError) as caught:
            lift.query(SHARDS, "select nothing from train")
        self.assertIn("nothing", str(caught.exception))
        self.assertNotIn("error: ", str(caught.exception))

    def test_a_path_may_look_like_a_flag(self) -> None:
        with self.assertRaises(lift.LiftError) as caught:
            lift.query("--no-such-folder", "select 1")
        self.assertTrue(str(caught.exception).startswith("--no-such-folder: "), caught.exception)


@unittest.skipUnless(RUN and _has("lift-train"), "no run in LIFT_TEST_RUN, or no lift-train")
class Report(unittest.TestCase):
    def test_it_is_of_the_run_and_its_shards(self) -> None:
        found = lift.report(RUN)
        self.assertEqual(found["format"], "lift-run-report/1")
        rows = lift.query(SHARDS, "select count(*) as n from test")
        self.assertEqual(found["test_images"], rows[0]["n"])
        recorded = json.loads((Path(RUN) / "report.json").read_text())["evaluations"][0]["metrics"]
        self.assertAlmostEqual(found["accuracy"][0]["overall"]["value"], recorded["overall"], places=3)

    def test_what_is_no_run_is_an_error(self) -> None:
        with self.assertRaises(lift.LiftError) as caught:
            lift.report(SHARDS)
        self.assertIn(SHARDS, str(caught.exception))


class Missing(unittest.TestCase):
    def test_a_missing_program_says_what_to_install(self) -> None:
        with mock.patch("shutil.which", return_value=None), mock.patch.object(sys, "executable", "/nowhere/python"):
            with self.assertRaises(lift.LiftError) as caught:
                lift.query("shards", "select 1")
        self.assertIn("pip install lift-data", str(caught.exception))
