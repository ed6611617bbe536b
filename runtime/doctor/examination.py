"""The examination: every question asked apart from this process, and as many at once as there are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.util import find_spec
from time import perf_counter

from maskanim import __version__
from maskanim.driver import Driver
from maskanim.runtime.backends import BACKENDS
from maskanim.runtime.doctor.compatibility import DISTRIBUTIONS, NOT_IMPORTED, advice, chosen, obstacles, warnings
from maskanim.runtime.doctor.facts import Diagnosis, Model, Obstacle, Package, Verdict, this_machine
from maskanim.runtime.doctor.subprocess_probe import ask

PATIENCE = 60.0  # seconds for each question; importing a large package from a cold disk takes 20


def examine(model: str | None = None, quick: bool = False, patience: float = PATIENCE) -> Diagnosis:
    """Find out what runs here.

    Args:
        model: a bundle's folder, ``demo``, or None for the current model.
        quick: import the packages and verify the model, but do not open it.
        patience: seconds after which a question counts as unanswered.

    Returns:
        The diagnosis. Whatever is broken is in it, and not raised.
    """
    began = perf_counter()
    with ThreadPoolExecutor(2 + len(DISTRIBUTIONS)) as pool:
        driver_answer = pool.submit(ask, "driver", patience=patience)
        model_answer = pool.submit(ask, "model", model or "", patience=patience)
        packages = {package.module: package for package in pool.map(lambda name: _load(name, patience), DISTRIBUTIONS)}
        asked, found = driver_answer.result(), model_answer.result()
        driver = asked.value or Driver(trouble=f"asking NVIDIA's driver failed: {asked.problem}")
        chosen_model = found.value or Model(problem=found.problem)

        def judge(engine: str) -> Verdict:
            """What is in an engine's way; where that is nothing, a trial on the model."""
            found = obstacles(engine, packages, driver)
            if found or quick or chosen_model.path is None:
                return Verdict(engine, not found, tried=False, obstacles=found)
            answer = ask("engine", engine, chosen_model.path, patience=patience)
            failed = (Obstacle("failed", answer.problem),) if answer.problem else ()
            return Verdict(engine, not failed, True, answer.value, failed, round(answer.seconds, 2))

        verdicts = tuple(pool.map(judge, BACKENDS))
    return Diagnosis(
        maskanim=__version__,
        machine=this_machine(),
        driver=driver,
        packages=tuple(packages.values()),
        model=chosen_model,
        engines=verdicts,
        auto=chosen(verdicts),
        advice=advice(verdicts, packages, driver),
        warnings=warnings(packages),
        seconds=round(perf_counter() - began, 2),
    )


def _load(module: str, patience: float) -> Package:
    """What pip knows of a package, and its import in another process."""
    versions = {name: version for name in DISTRIBUTIONS[module] if (version := _version(name))}
    # Some, from system packages, are there although pip does not know them.
    if module in NOT_IMPORTED or not (versions or _findable(module)):
        return Package(module, versions)
    answer = ask("package", module, patience=patience)
    version, providers = answer.value or (None, ())
    return Package(module, versions, answer.problem is None, version, answer.problem, providers)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except Exception:  # not installed, or its metadata is damaged: pip would not see it either
        return None


def _findable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except Exception:  # a parent package that fails to import
        return False
