"""Records with known answers, as `experiments.run` would write them."""

import numpy as np

LADDER = [(256, 400), (1024, 400), (4096, 400), (16384, 256)]


def record(
    method="plain", *, variance_at_one=1.0, slope=-1.0, exact=0.25, kind="Expectation", problem="toy", **changes
):
    """A record whose variance is `variance_at_one` N^slope without noise, and whose intervals cover 95 times in 100."""
    rows = [
        row(num_samples, replicates, variance=variance_at_one * float(num_samples) ** slope, exact=exact)
        for num_samples, replicates in LADDER
    ]
    return {
        "problem": problem,
        "case": "",
        "method": method,
        "overrides": {"problem": problem, "proposal": method, "name": "toy"},
        "config": {"problem": {"_target_": problem}, "proposal": None if method == "plain" else method, "seed": 0},
        "seed": 0,
        "device": "cpu",
        "dtype": "float32",
        "versions": {"jax": "0", "jaxlib": "0", "numpy": "2", "mcengine": "0", "python": "3", "code": "c"},
        "identity": f"{problem}-{method}-{changes}",
        "kind": kind,
        "rows": rows,
        "finished": "2025-01-01T00:00:00.000000",
    } | changes


def row(num_samples, replicates, *, variance, exact):
    mean = 0.3 if exact is None else exact
    return {
        "output": "",
        "num_samples": num_samples,
        "replicates": replicates,
        "exact": exact,
        "mean": mean,
        "variance": variance,
        "variance_se": variance * np.sqrt(2.0 / (replicates - 1)),
        "mean_std_error": np.sqrt(variance),
        "mse": None if exact is None else variance,
        "covered": None if exact is None else round(0.95 * replicates),
        "ess": 0.5 * num_samples,
        "pareto_k": None,
        "max_weight_share": 0.01,
        "num_hits": 0.5 * num_samples,
        "num_nonfinite": 0,
        "status": "ok",
        "ok_share": 1.0,
        "statuses": {"ok": replicates},
        "seconds": 1e-6 * num_samples,
        "compile_seconds": 0.5,
    }


def stopping_record(method="plain, to tolerance", *, counts=((0.1, 8192), (0.01, 8192)), **changes):
    """A record of runs that stopped by themselves: the rtols and mean counts of `counts`, variance 1 / N."""
    rows = [row(count, 100, variance=1.0 / count, exact=0.25) | {"rtol": rtol, "exceeded": 2} for rtol, count in counts]
    return record(method, **changes) | {"rows": rows}
