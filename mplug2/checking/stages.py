"""The stages of `mplug2 check`, each of which runs only if those before it found nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry import Problem, Spec, SpecError, StreamType, check
from registry.checks.data_limits import check_data_limits

READ, NAMES, AXES, DRY_RUN, SMOKE, RUN = range(1, 7)


@dataclass(frozen=True)
class Findings:
    """The problems of the last stage that ran, notes on what was not checked, and the solved types."""

    stage: int
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    types: Mapping[str, StreamType] = field(default_factory=dict)

    def raise_if_bad(self) -> Findings:
        """Raise `SpecError` with all problems, or return the findings."""
        if self.problems:
            raise SpecError(self.problems)
        return self


def check_stages(
    spec: Spec, last: int = DRY_RUN, *, required: bool = False
) -> Findings:
    """Return the findings of stages 2 to ``last`` (at most `DRY_RUN`).

    Files that the spec names and that are not here are notes; with ``required`` an absent vocabulary is a
    problem. Up to stage 3 torch is not imported, and nothing is opened but a vocabulary whose size the spec
    leaves out. Other vocabularies are not read and stage 4 is not run again if nothing has changed since both
    passed.
    """
    report = check(spec)
    if report.problems:
        return Findings(report.stage, report.problems, types=report.types)
    problems = check_data_limits(spec, report.types)
    if (
        problems or report.notes or last < DRY_RUN
    ):  # A network is not built while an argument is open.
        return Findings(AXES, problems, report.notes, report.types)
    # Up to stage 3 neither torch nor the tokenizers are imported.
    from mplug2.checking import dry_run_cache
    from mplug2.checking.files import absent_files
    from mplug2.checking.fingerprint import fingerprint
    from mplug2.checking.vocabulary import check_vocabularies

    key = fingerprint(spec, report.types)
    passed = key is not None and dry_run_cache.is_known(key)
    problems, notes = check_vocabularies(spec, required=required, unchanged=passed)
    notes = SpecError([*absent_files(spec), *notes]).problems
    if not problems and not passed:
        problems = _dry_run_problems(spec)
        if key is not None and not problems:
            dry_run_cache.remember(key)
    return Findings(DRY_RUN, problems, notes, report.types)


def _dry_run_problems(spec: Spec) -> list[Problem]:
    """Return the problems of stage 4."""
    from mplug2.build.dry_run import check_streams  # Torch takes seconds to import.

    try:
        check_streams(spec)
    except SpecError as error:
        return list(error.problems)
    return []
