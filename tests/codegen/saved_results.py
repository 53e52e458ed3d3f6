"""Results of every method, saved to the bit: `python -m tests.codegen.saved_results` records them anew.

A case is a function of the public API alone, and gives numbers. What moves code about or renames it must leave all of
them as they are (`test_saved_results.py`); what means to change a number records it anew and says so.
"""

import functools
import hashlib
import json
import platform
from importlib import metadata
from multiprocessing.pool import ThreadPool
from pathlib import Path

import tests.conftest  # the strict modes of every test, before mcengine is imported

# isort: split
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import mcengine as mc
from mcengine import finance, integrals, rendering, rl, teaching
from mcengine.rl import ope

assert tests.conftest
FILE = Path(__file__).parent / "data" / "saved_results.npz"
BITS_DEPEND_ON = ("jax", "jaxlib", "numpy", "scipy")
BLOCKS, FEW = mc.Execution(block_size=1_024), mc.Samples(4_096)
CASES = {}


def case(function):
    """Names a case by its function: `points_iid` is iid of the family points."""
    name = function.__name__
    assert name not in CASES
    CASES[name] = function
    return function


def add(family, cases):
    """Cases of one family, by their names; each a function without arguments."""
    for name, function in cases.items():
        assert f"{family}_{name}" not in CASES
        CASES[f"{family}_{name}"] = function


# What is kept of a result.


def either(owner, *names):
    """The first attribute that is there, by the name it has now or the one it had."""
    return next(getattr(owner, name) for name in names if hasattr(owner, name))


def numbers(result):
    """The numbers of an estimate, or of a tree of estimates."""
    if isinstance(result, mc.MultilevelEstimate):
        return of_levels(result)
    if isinstance(result, mc.Estimate | mc.RiskEstimate):
        return of_estimate(result)
    if isinstance(result, dict):
        return {name: numbers(part) for name, part in result.items()}
    if isinstance(result, list | tuple):
        return [numbers(part) for part in result]
    return result


COUNTS = ("num_samples", "num_units", "num_nonfinite")
DIAGNOSTICS = ("ess", "pareto_k", "max_weight_share", "num_hits")


def of_estimate(result):
    found = {name: getattr(result, name) for name in ("value", "std_error", *DIAGNOSTICS, *COUNTS, "status_codes")}
    found["interval"] = result.interval(0.95)
    if isinstance(result, mc.RiskEstimate):
        return found | {"losses": result.losses[..., ::64], "exceedance": result.exceedance[..., ::64]}
    found |= {name: getattr(result, name) for name in ("bias_seen", "upper_bound", "skewness")}
    # Its classes and fields may be renamed.
    return found | {"status_code": result.status_code, "summary": jax.tree.leaves(either(result, "summary", "row"))}


def of_levels(result):
    names = ("value", "std_error", "bias", "cost", "pilot_cost", "weak_order", "strong_order", "status_code")
    columns = ("level", "num_samples", "mean", "std_error", "variance", "cost", "status")
    levels = [[float(getattr(line, name)) for name in columns] for line in result.levels]
    return [getattr(result, name) for name in names], result.interval(0.95), np.asarray(levels)


def leaves(name):
    """(where in the result, array) for every number of a case."""
    found = jax.tree_util.tree_flatten_with_path(CASES[name]())[0]
    return [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in found]


def run(problem, proposal=None, *, seed=1, budget=FEW, execution=BLOCKS, **options):
    """The numbers of one estimate of 4 blocks."""
    key = jax.random.key(seed)
    return numbers(mc.estimate(key, problem, proposal, budget=budget, execution=execution, **options))


def later(*arguments, **options):
    """`run` when it is asked for."""
    return functools.partial(run, *arguments, **options)


# Problems that many cases share, so that little is compiled.


def identity(x):
    return x


def smooth(x):
    return jnp.exp(0.3 * x[0]) + x[1] ** 2


def three(x):
    return {"a": x[0], "b": jnp.stack([x[0] * x[1], jnp.exp(0.5 * x[1])])}


def named(x):
    return {"above": x**2 + 1.0, "below": jnp.exp(0.2 * x)}


def centred_square(x):
    return (x - 0.5) ** 2


PAIR = mc.Normal(np.asarray([0.0, 0.5]), np.asarray([1.0, 0.7]))
SMOOTH = mc.Expectation(smooth, PAIR)
TAIL = mc.Probability(identity, mc.Normal(0.0, 1.0), 3.0)
BESIDE = mc.Normal(2.5, 1.2)
SQUARE = mc.Expectation(centred_square, mc.Normal(0.5, 1.0))
WIDE = mc.Normal(0.2, 1.3)
THREE = mc.Expectation(three, PAIR)
NAMED = mc.Expectation(named, mc.Normal(0.5, 1.0))
EVENT = mc.Probability(identity, mc.Normal(0.0, 1.0), 1.0)
PARTS = [mc.Normal(0.0, 1.0), mc.Normal(2.5, 0.8), mc.Normal(3.5, 1.0)]
WEIGHTS = np.asarray([0.3, 0.5, 0.2])

add(
    "points",
    {
        "iid": later(SMOOTH),
        "iid_two_words": later(SMOOTH, points=mc.points.IID(words=2)),
        "antithetic": later(SMOOTH, points=mc.points.Antithetic()),
        "antithetic_two_words": later(SMOOTH, points=mc.points.Antithetic(words=2)),
        "stratified": later(SMOOTH, points=mc.points.Stratified()),
        "latin_hypercube": later(SMOOTH, points=mc.points.LatinHypercube()),
        "lattice": later(SMOOTH, points=mc.points.Lattice()),
        "lattice_tent": later(SMOOTH, points=mc.points.Lattice(tent=True)),
        "sobol": later(SMOOTH, points=mc.points.Sobol()),
        "sobol_sized": later(SMOOTH, points=mc.points.Sobol(size=64)),
        "sobol_weighted": later(SQUARE, WIDE, points=mc.points.Sobol()),
        "not_whole_blocks": later(SMOOTH, budget=mc.Samples(5_000)),
    },
)
add(
    "generator",
    {
        "iid_threefry": later(SMOOTH, points=mc.points.IID(generator="threefry")),
        "latin_hypercube_threefry": later(SMOOTH, points=mc.points.LatinHypercube(generator="threefry")),
    },
)
add(
    "weighting",
    {
        "raw": later(SQUARE, WIDE),
        "raw_tail": later(TAIL, BESIDE),
        "self_normalised": later(SQUARE, WIDE, weighting=mc.weighting.SelfNormalised()),
        "truncated": later(SQUARE, WIDE, weighting=mc.weighting.Truncated()),
        "clipped": later(SQUARE, WIDE, weighting=mc.weighting.Clipped(0.3, 1.2)),
        "pareto_smoothed": later(SQUARE, mc.Normal(0.0, 0.8), weighting=mc.weighting.ParetoSmoothed()),
        "no_hits": later(TAIL, mc.Normal(-3.0, 1.0)),
    },
)

HEURISTICS = {
    "balance": mc.mis.Balance(),
    "power": mc.mis.Power(),
    "cutoff": mc.mis.Cutoff(),
    "maximum": mc.mis.Maximum(),
    "optimal": mc.mis.Optimal(),
}
add("mis", {f"random_{name}": later(TAIL, mc.mixture(PARTS, WEIGHTS), mis=h) for name, h in HEURISTICS.items()})
add("mis", {f"fixed_{name}": later(TAIL, mc.multi_sample(PARTS, [3, 4, 1]), mis=h) for name, h in HEURISTICS.items()})


def linear_and_square(x):
    return jnp.stack([x[0], x[1] ** 2])


MOMENTS = mc.Controls(linear_and_square, np.asarray([0.0, 0.25 + 0.49]))
add(
    "controls",
    {
        "functions": later(SMOOTH, controls=MOMENTS),
        "functions_sobol": later(SMOOTH, controls=MOMENTS, points=mc.points.Sobol(size=64)),
        "functions_many_outputs": later(THREE, controls=MOMENTS, covariance="full"),
        "components": later(TAIL, mc.mixture(PARTS, WEIGHTS), controls=mc.Components()),
    },
)

EDGES = np.asarray([-2.0, -1.0, 0.0, 0.5, 2.0])
add(
    "functional",
    {
        "ratio": later(SQUARE, WIDE, functional=mc.Ratio()),
        "ratio_of_outputs": later(NAMED, WIDE, functional=mc.Ratio("above", "below")),
        "histogram_density": later(NAMED, WIDE, functional=mc.Histogram(EDGES, density=True, output="below")),
        "tail_risk": later(EVENT, functional=mc.TailRisk([0.9, 0.99])),
        "tail_risk_weighted": later(TAIL, BESIDE, functional=mc.TailRisk([0.99, 0.999])),
        "tail_risk_self_normalised": later(
            SQUARE, WIDE, functional=mc.TailRisk([0.9]), weighting=mc.weighting.SelfNormalised()
        ),
        "tail_risk_sobol": later(SQUARE, functional=mc.TailRisk([0.95]), points=mc.points.Sobol(size=256)),
        "several": later(
            NAMED,
            WIDE,
            functional={
                "mean": mc.Mean("below"),
                "ratio": mc.Ratio("above", "below"),
                "histogram": mc.Histogram(EDGES, output="above"),
                "risk": mc.TailRisk([0.9], output="above"),
            },
        ),
    },
)
add(
    "covariance",
    {
        "diagonal": later(THREE, covariance="diagonal"),
        "none": later(THREE, covariance=None),
    },
)


@case
def covariance_full():
    result = mc.estimate(jax.random.key(1), THREE, budget=FEW, covariance="full", execution=BLOCKS)
    sums = result.combination({"a": 1.0, "b": [2.0, -1.0]})
    ratio = result.function_of(lambda v: v["b"][0] / v["b"][1])
    both = [(part.value, part.std_error, part.interval(0.95)) for part in (sums, ratio)]
    return numbers(result), result.covariance, both


BOUNDED = mc.defensive(EVENT.target, mc.Normal(1.5, 1.0), 0.3)
add(
    "budget",
    {
        "tolerance": later(SQUARE, budget=mc.Tolerance(rtol=0.05, atol=0.0)),
        "tolerance_weighted": later(TAIL, BESIDE, budget=mc.Tolerance(rtol=0.1, atol=0.0)),
        "tolerance_spent": later(SQUARE, budget=mc.Tolerance(rtol=1e-4, atol=0.0, max_samples=4_096)),
        "tolerance_sobol": later(SMOOTH, points=mc.points.Sobol(), budget=mc.Tolerance(rtol=0.01, atol=0.0)),
        "tolerance_bernstein": later(EVENT, BOUNDED, budget=mc.Tolerance(rtol=0.3, finite_sample="bernstein")),
        "tolerance_betting": later(EVENT, BOUNDED, budget=mc.Tolerance(rtol=0.2, finite_sample="betting")),
    },
)


def moved_tail(loc):
    target = mc.Normal(loc, 1.0)
    proposal = jax.lax.stop_gradient(mc.Normal(loc + 2.5, 1.2))
    return mc.estimate(jax.random.key(3), mc.Probability(identity, target, 3.0), proposal, budget=FEW, execution=BLOCKS)


def moved_mean(loc):
    problem = mc.Expectation(centred_square, mc.Normal(loc, 1.0))
    return mc.estimate(jax.random.key(4), problem, budget=FEW, execution=BLOCKS)


@case
def trace_jit():
    return numbers(jax.jit(moved_tail)(jnp.asarray(0.1)))


@case
def trace_grad_score():
    return jax.jit(jax.value_and_grad(lambda loc: moved_tail(loc).value))(jnp.asarray(0.1))


@case
def trace_grad_pathwise():
    return jax.jit(jax.value_and_grad(lambda loc: moved_mean(loc).value))(jnp.asarray(0.1))


@case
def trace_vmap():
    return numbers(jax.jit(jax.vmap(moved_tail))(jnp.asarray([0.0, 0.3])))


@case
def trace_controls():
    def of(key):
        return mc.estimate(key, SMOOTH, budget=FEW, controls=MOMENTS, execution=BLOCKS)

    return numbers(jax.jit(of)(jax.random.key(5)))


def runs(problem, proposal=None, *, budget=FEW, num=3, **options):
    keys = jax.random.split(jax.random.key(6), num)
    return numbers(mc.replicate(keys, problem, proposal, budget=budget, execution=BLOCKS, **options))


add(
    "replicate",
    {
        "weighted": functools.partial(runs, TAIL, BESIDE, weighting=mc.weighting.SelfNormalised()),
        "controls": functools.partial(runs, SMOOTH, controls=MOMENTS),
        "tail_risk": functools.partial(runs, EVENT, functional=mc.TailRisk([0.9]), num=2),
    },
)


@case
def merge_two():
    first, second = (mc.estimate(jax.random.key(seed), SQUARE, WIDE, budget=FEW, execution=BLOCKS) for seed in (1, 2))
    return numbers(first.merge(second))


# Samples of somebody else.


def drawn():
    rng = np.random.default_rng(20261121)
    x = 0.3 + 1.4 * rng.standard_normal(600)
    log_w = -0.5 * x**2 + 0.5 * ((x - 0.3) / 1.4) ** 2 + np.log(1.4)
    return log_w, x


def from_arrays(weighting=mc.weighting.Raw(), *, of=np.square, weighted=True, **options):
    log_w, x = drawn()
    return numbers(mc.estimate_from(log_w if weighted else None, of(x), weighting=weighting, **options))


def fraction(x):
    return 1.0 / (1.0 + x**2)


def outputs(x):
    return {"above": x**2, "below": 1.0 + 0.1 * x**2}


def columns(x):
    return np.stack([x, x**2], axis=1)


def given(*arguments, **options):
    return functools.partial(from_arrays, *arguments, **options)


add(
    "from",
    {
        "raw": given(),
        "unweighted": given(weighted=False),
        "self_normalised": given(mc.weighting.SelfNormalised()),
        "truncated": given(mc.weighting.Truncated()),
        "clipped": given(mc.weighting.Clipped(0.2, 1.3)),
        "pareto_smoothed": given(mc.weighting.ParetoSmoothed()),
        "full_covariance": given(of=columns, covariance="full"),
        "ratio": given(of=outputs, functional=mc.Ratio("above", "below")),
        "tail_risk": given(functional=mc.TailRisk([0.8, 0.95])),
        "tail_risk_self_normalised": given(mc.weighting.SelfNormalised(), functional=mc.TailRisk([0.9])),
        "several": given(of=outputs, functional={"mean": mc.Mean("above"), "risk": mc.TailRisk([0.9], "below")}),
        "betting": given(of=fraction, weighted=False, finite_sample="betting", largest=1.0),
        "bernstein": given(of=fraction, weighted=False, finite_sample="bernstein", largest=1.0),
        "betting_weighted": given(of=fraction, finite_sample="betting", largest=2.0),
    },
)


# Gradients.


def square_of(p):
    return mc.Expectation(centred_square, mc.Normal(p["loc"], p["scale"]))


def beyond(p):
    return mc.Probability(identity, mc.Normal(p["loc"], p["scale"]), 3.0)


def moving(p):
    return mc.Normal(p["loc"] + 0.3, 1.2)


NORMAL = {"loc": 1.5, "scale": 0.7}


def slopes(problem_of, parameters, proposal=None, **options):
    return numbers(
        mc.estimate_gradient(
            jax.random.key(7), problem_of, parameters, proposal, budget=FEW, execution=BLOCKS, **options
        )
    )


def proposal_slopes(problem, **options):
    return numbers(
        mc.estimate_proposal_gradient(
            jax.random.key(8),
            problem,
            lambda p: mc.Normal(p["loc"], p["scale"]),
            {"loc": 2.6, "scale": 0.9},
            budget=FEW,
            execution=BLOCKS,
            **options,
        )
    )


add(
    "gradient",
    {
        "score": functools.partial(slopes, square_of, NORMAL),
        "score_proposal": functools.partial(slopes, beyond, NORMAL, BESIDE),
        "pathwise": functools.partial(slopes, square_of, NORMAL, form="pathwise"),
        "pathwise_moving": functools.partial(slopes, square_of, NORMAL, moving, form="pathwise"),
        "self_normalised": functools.partial(
            slopes, square_of, NORMAL, moving, weighting=mc.weighting.SelfNormalised()
        ),
        "baseline": functools.partial(slopes, square_of, NORMAL, baseline=True),
        "proposal_variance": functools.partial(proposal_slopes, TAIL),
        "proposal_pathwise": functools.partial(proposal_slopes, SQUARE, form="pathwise", objective="cross_entropy"),
    },
)


# Other problems.


class Approximation(eqx.Module):
    """2 + z_0^2, and away from it by what halves from level to level."""

    h: jax.Array = eqx.field(converter=jnp.asarray)
    correction: bool = eqx.field(static=True)

    def __call__(self, z):
        away = self.h * (0.8 + 0.7 * z[1])
        return -away if self.correction else 2.0 + z[0] ** 2 + away


def levels(level):
    return mc.Expectation(Approximation(0.5**level, level > 0), mc.Normal(np.zeros(2), 1.0)), 2.0**level


add(
    "multilevel",
    {
        "samples": lambda: numbers(
            mc.multilevel(
                jax.random.key(9), levels, budget=mc.Samples(20_000), weak_order=1.0, pilot=256, execution=BLOCKS
            )
        ),
        "tolerance": lambda: numbers(
            mc.multilevel(jax.random.key(10), levels, budget=mc.Tolerance(atol=0.2), execution=BLOCKS)
        ),
    },
)


def two_means(**options):
    return mc.difference(SQUARE, mc.Expectation(centred_square, mc.Normal(0.8, 1.1)), **options)


@case
def difference_same_uniforms():
    result = mc.estimate(jax.random.key(12), two_means(), budget=FEW, execution=BLOCKS, covariance="full")
    return numbers(result), mc.pairing_gain(result)


add(
    "difference",
    {
        "one_target": later(mc.difference(SQUARE, mc.Expectation(jnp.exp, SQUARE.target)), WIDE),
        "proposals": later(mc.difference(TAIL, beyond({"loc": 0.1, "scale": 1.0}), (BESIDE, mc.Normal(2.6, 1.2)))),
    },
)

SUM = mc.Probability(jnp.sum, PAIR, 2.0)
add(
    "conditional",
    {
        "last": lambda: run(mc.conditional(SUM)),
        "boundary": lambda: run(mc.conditional(SUM, 0, lambda y, threshold: threshold - jnp.sum(y))),
    },
)


def chosen(mixture, **options):
    choose = either(mc, "choose_mixture_weights", "choose_shares")
    return choose(jax.random.key(13), TAIL, mixture, budget=mc.Samples(1_024), **options)


@case
def shares_of_variance():
    found = chosen(mc.mixture(PARTS))
    return found.weights, run(TAIL, found)


@case
def shares_of_costs():
    found = chosen(mc.mixture(PARTS), costs=[1.0, 2.0, 5.0], floor=0.1)
    return found.weights, run(TAIL, mc.multi_sample(found, total=8))


@case
def shares_of_a_defensive_mixture():
    return jax.tree.leaves(chosen(mc.defensive(TAIL.target, BESIDE)))


add(
    "proposal",
    {
        "tilted": later(TAIL, mc.tilted(TAIL.target, 3.0)),
        "shifted": later(SMOOTH, mc.shifted(PAIR, np.asarray([0.3, 0.0]))),
        "scaled": later(SMOOTH, mc.scaled(PAIR, 1.3)),
        "defensive": later(TAIL, mc.defensive(TAIL.target, BESIDE, 0.2)),
        "integral_infinite": later(mc.Integral(lambda x: jnp.exp(-(x**2)), -np.inf, np.inf)),
    },
)  # fmt: skip

LAWS = {
    "normal": lambda: mc.Normal(1.0, 2.5),
    "multivariate_normal": lambda: mc.MultivariateNormal([1.0, -1.0], covariance=[[2.0, 0.9], [0.9, 1.0]]),
    "student_t": lambda: mc.StudentT([3.5, 0.7], [-1.0, 1.0], 2.0),
    "uniform": lambda: mc.Uniform(-1.0, 3.0),
    "exponential": lambda: mc.Exponential(2.5),
    "lognormal": lambda: mc.LogNormal(0.3, 0.8),
    "gumbel": lambda: mc.Gumbel(1.0, 2.0),
    "weibull": lambda: mc.Weibull(1.7, 2.0),
    "generalised_pareto": lambda: mc.GeneralisedPareto(0.3, 2.0, 1.0),
    "gamma": lambda: mc.Gamma(2.5, 0.5),
    "beta": lambda: mc.Beta(2.0, 3.5),
    "categorical": lambda: mc.Categorical([0.1, 0.0, 0.65, 0.25]),
    "bernoulli": lambda: mc.Bernoulli(0.23),
    "poisson": lambda: mc.Poisson(3.7),
    "product": lambda: mc.Product([mc.Normal(1.0, 2.0), mc.Exponential(0.5)]),
    "truncated": lambda: mc.Truncated(mc.Normal(1.0, 2.0), -1.0, 1.5),
    "mixture": lambda: mc.Mixture([mc.Normal(-2.0, 0.5), mc.StudentT(3.0, 3.0)], [0.3, 0.7]),
    "affine": lambda: mc.Affine(mc.Gumbel(), 1.0, -2.0),
    "pushforward": lambda: mc.Pushforward(
        lambda u: -jnp.log1p(-u[0]), lambda x: jnp.where(x >= 0, -jnp.maximum(x, 0.0), -jnp.inf), 1, "plain",
        (0.0, np.inf),
    ),
    "box": lambda: mc.Box([-np.inf, -1.0], [2.0, 3.0]),
    "cosine_hemisphere": rendering.CosineHemisphere,
    "uniform_hemisphere": rendering.UniformHemisphere,
    "middle": lambda: teaching.Middle(2.0),
    "shore": lambda: teaching.Shore(1.5),
}  # fmt: skip


def law(make):
    """Six samples and their log densities."""

    @eqx.filter_jit
    def of(distribution, keys):
        x = jax.vmap(distribution.sample)(keys)
        return x, jax.vmap(distribution.log_prob)(x)

    return of(make(), jax.random.split(jax.random.key(14), 6))


add("law", {name: functools.partial(law, make) for name, make in LAWS.items()})


@case
def law_information():
    p, q = mc.Normal(1.0, 2.0), mc.Normal(0.0, 1.5)
    return mc.entropy(p), mc.kl_divergence(p, q), mc.self_information(p, jnp.asarray(0.4)), mc.entropy(mc.Gamma(2.5))


@case
def weights_by_hand():
    log_w = jnp.asarray(drawn()[0])
    smoothed = mc.weights.pareto_smoothed(log_w)
    others = (mc.weights.effective_sample_size, mc.weights.log_mean, mc.weights.largest_share, mc.weights.k_hat)
    return smoothed[0][::16], smoothed[1], [of(log_w) for of in others], mc.weights.normalised(log_w)[::16]


# Fields: of a problem made when it is asked for, from a proposal and with controls made of it.


def on(make, proposal=None, **options):
    """An estimate, and the truth."""

    def of():
        problem = make()
        built = {name: option(problem) if callable(option) else option for name, option in options.items()}
        source = None if proposal is None else proposal(problem)
        return run(problem, source, **built), problem.exact

    return of


def at(make, proposal=None, controls=None):
    """Its parts at six samples: x, f(x), log p, log q and controls; and the truth. Whole estimates compile too long."""

    @eqx.filter_jit
    def parts(problem, source, known, keys):
        x = jax.vmap(source.sample)(keys)
        functions = [problem.integrand, problem.target.log_prob, source.log_prob]
        return x, [jax.vmap(f)(x) for f in functions + ([] if known is None else [known.function])]

    def of():
        problem = make()
        source = problem.plain if proposal is None else proposal(problem)
        known = None if controls is None else controls(problem)
        keys = jax.random.split(jax.random.key(16), 6)
        found = parts(problem, mc.as_distribution(source), known, keys)
        return found, problem.exact, None if known is None else known.means

    return of


european = functools.partial(finance.path_option, steps=4)
asian = functools.partial(finance.path_option, steps=4, payoff="asian")
add(
    "finance",
    {
        "index_fall": on(finance.index_fall, finance.inflated),
        "shifted": on(finance.index_fall, finance.shifted),
        "one_bad_day": at(finance.index_fall, either(finance, "one_big_jump", "one_bad_day")),
        "bad_days": at(finance.index_fall, controls=either(finance, "exceedance_counts", "bad_days")),
        "option_levels": at(lambda: finance.OptionLevels(payoff="asian")(1)[0]),
        "underlying": at(european, controls=finance.underlying),
        "lognormal_twin": at(asian, controls=finance.lognormal_twin),
        "underlying_of_an_asian": at(asian, controls=finance.underlying),
        "euler": at(functools.partial(european, scheme="euler", factor=2)),
        "by_hand": lambda: (
            finance.black_scholes_call(strike=105.0),
            finance.student_sum_tail(12.0, 4.0, 5),
            finance.tail_by_contour(12.0, 4.0, 5),
            finance.tail_by_fft(12.0, 4.0, 5),
            list(finance.fitted_model()),
        ),
    },
)
add(
    "integrals",
    {
        "continuous": at(integrals.genz_continuous),
        "corner_peak": at(integrals.genz_corner_peak),
        "discontinuous": at(integrals.genz_discontinuous),
        "gaussian": at(integrals.genz_gaussian),
        "oscillatory": at(integrals.genz_oscillatory),
        "product_peak": at(integrals.genz_product_peak),
        "keister": at(functools.partial(integrals.keister, 3), controls=integrals.radius_powers),
        "peaked_curve": on(integrals.peaked_curve),
        "peak_proposal": at(integrals.peaked_curve, functools.partial(integrals.peak_proposal, uniform_share=0.4)),
        "legendre": at(integrals.peaked_curve, controls=integrals.legendre),
    },
)
light = functools.partial(rendering.plane_light, x=0.5)
add(
    "rendering",
    {
        "plane_light": at(light),
        "cosine": at(light, lambda _: rendering.CosineHemisphere()),
        "towards_lamp": at(light, rendering.towards_lamp),
        "cosine_and_lamp": on(light, rendering.cosine_and_lamp, mis=mc.mis.Power()),
        "lamp_in_sight": at(light, rendering.cosine_and_lamp, either(rendering, "light_visibility", "lamp_in_sight")),
    },
)
add(
    "teaching",
    {
        "gaussian_tail": on(teaching.gaussian_tail, teaching.shifted),
        "gaussian_tail_tilted": on(teaching.gaussian_tail, teaching.tilted),
        "gaussian_tail_wider": on(teaching.gaussian_tail, teaching.wider),
        "gaussian_tail_defensive": at(teaching.gaussian_tail, teaching.defensive),
        "fish_pond": at(teaching.fish_pond, teaching.where_the_fish_are),
        "fish_pond_shore": at(teaching.fish_pond, lambda _: teaching.Shore(6.0)),
        "bumped_mean": on(teaching.bumped_mean),
        "far_apart": at(teaching.far_apart, teaching.between),
        "loss_beyond": at(teaching.loss_beyond),
        "normal_loss": on(teaching.normal_loss, teaching.beyond_quantile, functional=mc.TailRisk([0.99])),
        "policy_mean": at(teaching.policy_mean, teaching.halfway),
        "policy_kl": at(teaching.policy_kl),
        "policy_entropy": at(teaching.policy_entropy),
    },
)

# Reinforcement learning.

mdp = functools.partial(rl.tabular_mdp, horizon=5)
add(
    "rl",
    {
        "policy_value": at(mdp),
        "behaviour": on(mdp, rl.behaviour_trajectories),
        "mixed": at(mdp, rl.mixed_trajectories),
        "per_decision": at(functools.partial(rl.per_decision_tabular_mdp, horizon=5)),
        "luck": at(mdp, controls=either(rl, "advantage_sums", "luck")),
        "red_light": at(rl.red_light, lambda _: rl.driver(0.8)),
    },
)


def batch():
    """(log pi, log mu, log reference, advantages, mask), [3, 5], the same at every call."""
    rng = np.random.default_rng(20261122)
    mask = np.arange(5) < np.asarray([[5], [3], [4]])
    log_mu, log_reference = np.log(rng.uniform(0.2, 0.9, (2, 3, 5)))
    log_pi = np.minimum(log_mu + 0.4 * rng.standard_normal((3, 5)), -1e-3)
    arrays = (log_pi, log_mu, log_reference, rng.standard_normal((3, 5)))
    return *(jnp.asarray(x, jnp.float32) for x in arrays), jnp.asarray(mask)


def loss(objective, *positions, **options):
    """Value and gradient along log pi of an objective of those parts of the batch."""
    parts = batch()

    def of(log_pi):
        others = [parts[i] for i in positions]
        return objective(log_pi, *others, mask=parts[4], **options)

    return jax.jit(jax.value_and_grad(of))(parts[0])


def penalised(log_pi, log_mu, advantages, log_reference, mask, **options):
    exact = rl.kl.kl_estimate(log_mu, log_pi, mask=mask)
    return rl.objectives.ppo_kl(log_pi, log_mu, advantages, exact, beta=0.3, mask=mask, **options)


def corrected(log_pi, log_mu, advantages, log_reference, mask):
    factor = rl.objectives.importance_correction(log_mu, log_reference, mask=mask)
    return rl.objectives.ppo_clip(log_pi, log_mu, advantages, mask=mask, factor=factor)


def with_reference(objective, **options):
    def of(log_pi, log_mu, advantages, log_reference, mask):
        return objective(log_pi, log_mu, advantages, log_reference, beta=0.1, mask=mask, **options)

    return of


def of_loss(*arguments, **options):
    return functools.partial(loss, *arguments, **options)


OF = rl.objectives
SURROGATES = {
    f"{level}_{form}_{name}": {
        "level": getattr(rl.levels, level), "form": getattr(rl.forms, form), "transform": transform
    }
    for level, form, name, transform in [
        ("prefix", "weight", "identity", rl.transforms.Identity()),
        ("sequence", "score", "truncate", rl.transforms.Truncate(1.3)),
        ("step", "weight", "drop_outside", rl.transforms.DropOutside(0.7, 1.4)),
        ("length_mean", "pessimistic", "clip", rl.transforms.Clip(0.9, 1.1)),
    ]
}  # fmt: skip
add("rl_surrogate", {name: of_loss(OF.surrogate_loss, 1, 3, **options) for name, options in SURROGATES.items()})
add(
    "rl_loss",
    {
        "policy_gradient": of_loss(OF.policy_gradient, 3),
        "off_policy_gradient": of_loss(OF.off_policy_gradient, 1, 3, rho_bar=1.0),
        "off_policy_gradient_prefix": of_loss(OF.off_policy_gradient, 1, 3, level=rl.levels.prefix),
        "ppo_clip": of_loss(OF.ppo_clip, 1, 3),
        "ppo_clip_uneven": of_loss(OF.ppo_clip, 1, 3, epsilon_high=0.28, reduction=rl.reductions.ConstantLength(6.0)),
        "dual_clip": of_loss(OF.dual_clip, 1, 3, bound=1.5),
        "ppo_kl": of_loss(penalised, 1, 3, 2),
        "grpo": of_loss(with_reference(OF.grpo), 1, 3, 2),
        "grpo_published": of_loss(with_reference(OF.grpo, kl_gradient="k3", kl_weighted=False), 1, 3, 2),
        "dr_grpo": of_loss(with_reference(OF.dr_grpo, length=6.0), 1, 3, 2),
        "gspo": of_loss(OF.gspo, 1, 3, tokens=True, epsilon=0.1, epsilon_high=0.15),
        "cispo": of_loss(OF.cispo, 1, 3, high=1.2),
        "importance_correction": of_loss(corrected, 1, 3, 2),
    },
)


@case
def rl_loss_guided_policy_search():
    log_pi, log_mu, log_reference, rewards, mask = batch()
    samplers = jnp.stack([log_mu, log_reference])

    def of(log_pi):
        return rl.guided_policy_search_loss(log_pi, samplers, rewards, shares=[0.25, 0.75], mask=mask)

    return jax.jit(jax.value_and_grad(of))(log_pi)


def critic():
    """(rewards, values, next values, log ratios, log pi) and where episodes end, [3, 5]."""
    log_pi, log_mu, values, rewards, _ = batch()
    terminated, truncated = np.zeros((2, 3, 5), bool)
    terminated[0, 2] = truncated[1, 3] = True
    final = jnp.full((3, 5), 0.4)
    following = rl.advantages.next_values(values, jnp.asarray([0.1, -0.2, 0.3]), truncated, final)
    return rewards, values, following, log_pi - log_mu, log_pi, {"terminated": terminated, "truncated": truncated}


@case
def rl_advantages_of_values():
    rewards, values, following, _, _, ends = critic()
    adv = rl.advantages
    return [
        list(adv.gae(rewards, values, following, 0.95, lambda_=0.9, **ends)),
        adv.lambda_returns(rewards, following, 0.95, 0.8, **ends),
        adv.td_targets(rewards, following, 0.95, terminated=ends["terminated"]),
        adv.n_step_targets(rewards, following, 0.95, 3, **ends),
        adv.rewards_to_go(rewards, 0.95, **ends),
        adv.rewards_to_go(rewards, 0.95, bootstrap=following, **ends),
        adv.total_returns(rewards, 0.95),
    ]


@case
def rl_advantages_off_policy():
    rewards, values, following, log_ratios, log_pi, ends = critic()
    adv = rl.advantages
    traces = [adv.retrace_traces(log_ratios, 0.9), adv.tree_backup_traces(log_pi, 0.9), 0.9]
    return [
        list(adv.vtrace(rewards, values, following, log_ratios, discount=0.95, lambda_=0.9, pg_rho_bar=1.2, **ends)),
        [adv.q_targets(rewards, values, following, trace, discount=0.95, **ends) for trace in traces],
    ]


@case
def rl_advantages_of_groups():
    rewards = batch()[3]
    adv = rl.advantages
    return [
        adv.group_advantages(rewards),
        adv.group_advantages(rewards, scale=None),
        adv.group_advantages(rewards, ddof=1, epsilon=1e-4),
        adv.leave_one_out_advantages(rewards),
    ]


@case
def rl_kl_exact():
    log_pi, log_mu, loc, other, mask = batch()
    scales, row = (jnp.exp(0.3 * loc), jnp.exp(0.2 * other)), mask[:, 0]
    covariances = [jnp.eye(5)[None] * s[..., None] + 0.1 for s in scales]
    return [
        rl.kl.categorical_kl(log_pi, log_mu, mask=row),
        rl.kl.categorical_entropy(log_pi),
        rl.kl.diagonal_gaussian_kl(loc, scales[0], other, scales[1]),
        rl.kl.diagonal_gaussian_entropy(scales[0]),
        rl.kl.gaussian_kl(loc, covariances[0], other, covariances[1]),
    ]


@case
def rl_kl_estimates():
    log_pi, _, log_reference, weight, mask = batch()
    of = jax.value_and_grad(lambda x: jnp.sum(rl.kl.kl_loss(x, log_reference, weight=jnp.abs(weight), mask=mask)))
    estimates = [rl.kl.kl_estimate(log_reference, log_pi, name, mask=mask) for name in ("k1", "k2", "k3")]
    return estimates, of(log_pi), rl.kl.entropy_estimate(log_pi, mask=mask)


@case
def rl_trust_region_step():
    keys = jax.random.split(jax.random.key(15), 3)
    features, advantages = jax.random.normal(keys[0], (12, 4)), jax.random.normal(keys[2], (12, 3))
    parameters = {"w": 0.5 * jax.random.normal(keys[1], (4, 3))}
    old = features @ parameters["w"]

    def objective(p):
        return jnp.mean(jnp.sum(jax.nn.softmax(features @ p["w"]) * advantages, axis=-1))

    def kl(p):
        return jnp.mean(rl.kl.categorical_kl(old, features @ p["w"]))

    stepped, info = jax.jit(lambda p: rl.trust_region_step(objective, kl, p))(parameters)
    return stepped, list(info), rl.fisher_vector_product(kl, parameters, parameters)


@case
def rl_weights_of_advantages():
    *_, advantages, mask = batch()
    temperature = rl.solve_temperature(advantages, 0.2, mask=mask)
    return [
        temperature,
        rl.advantage_weights(advantages, temperature, mask=mask),
        rl.exponentiated_advantages(advantages, 0.4, limit=5.0, mask=mask),
        jax.value_and_grad(rl.temperature_dual)(jnp.asarray(0.7), advantages, 0.2, mask=mask),
    ]


@case
def rl_weights_of_replay():
    probabilities = np.asarray([0.1, 0.02, 0.3, 0.004])
    betas = [rl.adaptive_beta(0.3, kl, 0.01) for kl in (0.001, 0.01, 0.1)]
    betas.append(rl.proportional_beta(0.3, 0.02, 0.01, num_steps=100))
    return rl.replay_weights(probabilities, 0.6), rl.replay_weights(probabilities, 1.0, size=50), betas


@case
def rl_update_diagnostics():
    log_pi, log_mu, *_, mask = batch()
    many = (jnp.tile(log_pi, (20, 1)), jnp.tile(log_mu, (20, 1)))
    per_step = rl.update_diagnostics(log_pi, log_mu, mask=mask)
    return list(per_step), list(rl.update_diagnostics(*many)), list(
        rl.update_diagnostics(*many, level=rl.levels.sequence, epsilon=0.1, epsilon_high=0.3)
    )  # fmt: skip


# Off-policy evaluation.


def bandit(features=True, log_target=False):
    rng = np.random.default_rng(5)
    n = 200
    contexts = rng.normal(size=(n, 3)) if features else rng.integers(0, 3, n)
    target, behaviour = rng.dirichlet(2.0 * np.ones(4), (2, n))
    actions = (rng.random((n, 1)) > np.cumsum(behaviour, axis=1)).sum(axis=1).clip(0, 3)
    rewards = (contexts[:, 0] if features else contexts) + 0.5 * actions + rng.normal(size=n)
    rows = np.arange(n)
    chosen = {"log_target": np.log(target[rows, actions])} if log_target else {"target_probabilities": target}
    return ope.BanditLog(actions, rewards, np.log(behaviour[rows, actions]), contexts=contexts, **chosen)


def trajectories(features=False, uneven=False):
    rng = np.random.default_rng(6)
    n, horizon = 150, 4
    states = rng.integers(0, 4, (n, horizon))
    target, behaviour = rng.dirichlet(3.0 * np.ones(2), (2, 4))
    actions = (rng.random((n, horizon)) > behaviour[states, 0]).astype(int)
    rewards = 0.3 * states + actions + rng.normal(size=(n, horizon))
    mask = np.arange(horizon) < rng.integers(2, horizon + 1, (n, 1)) if uneven else None
    seen = np.stack([np.ones((n, horizon)), states, states**2], axis=-1) if features else states
    log_behaviour = np.log(behaviour[states, actions])
    return ope.TrajectoryLog(
        rewards, log_behaviour, actions=actions, states=seen, target_probabilities=target[states], mask=mask,
        discount=0.98,
    )  # fmt: skip


def all_of(log):
    """Every estimator in its order: the short names are not the matter here."""
    return numbers(list(ope.estimate_all(log).values()))


add(
    "ope",
    {
        "bandit_features": lambda: all_of(bandit()),
        "bandit_contexts": lambda: all_of(bandit(features=False)),
        "bandit_log_target": lambda: all_of(bandit(log_target=True)),
        "trajectories": lambda: all_of(trajectories()),
        "trajectories_features": lambda: all_of(trajectories(features=True)),
        "trajectories_uneven": lambda: all_of(trajectories(uneven=True)),
        "truncated": lambda: numbers(ope.importance_sampling(trajectories(), mc.weighting.Truncated(2.0))),
        "switch": lambda: numbers(ope.switch(bandit(), threshold=2.0)),
        "shrunk": lambda: numbers(ope.shrunk_doubly_robust(bandit(), strength=3.0)),
    },
)


@case
def ope_model():
    model = ope.fitted_q(trajectories(), folds=3, ridge=0.5)
    return model.q, model.v


@case
def ope_several_loggers():
    log = trajectories()
    logger = np.arange(log.num_units) % 2
    both = np.stack([log.log_behaviour, np.log(0.5 * np.exp(log.log_behaviour) + 0.25)])
    mixed = ope.TrajectoryLog(log.rewards, both, log.log_target, logger=logger, discount=0.9)
    return ope.mean_behaviour(both, logger), all_of(mixed)


@case
def ope_doubly_robust_return():
    rewards, q, v, log_ratios, *_ = critic()
    return ope.doubly_robust_return(rewards, log_ratios, q, v, discount=0.9)


# The file.


def surroundings():
    """What the last bits depend on besides the code: versions, and what the processor can do."""
    versions = {name: metadata.version(name) for name in BITS_DEPEND_ON}
    return versions | {"processor": processor(), "backend": jax.default_backend()}


def processor():
    """The vector instructions of this processor, where Linux says; else its family."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line.split(":")[1].split() for line in lines if line.startswith(("flags", "Features"))), [])
    vector = sorted(flag for flag in set(flags) if flag.startswith(("avx", "fma", "asimd", "sve")))
    return " ".join([platform.machine(), *vector])


def record():
    """Writes the file: a case's numbers in a row as float64, which holds all of them, and their shapes and types."""
    arrays, layout = {}, {}
    with ThreadPool(2) as pool:  # most of the time goes to the compiler, which leaves the interpreter alone
        results = dict(zip(CASES, pool.map(leaves, CASES, chunksize=1), strict=True))
    for name, found in results.items():
        layout[name] = [[str(leaf.dtype), list(leaf.shape)] for _, leaf in found]
        arrays[name] = np.concatenate([np.ravel(leaf).astype(np.float64) for _, leaf in found])
    FILE.parent.mkdir(exist_ok=True)
    about = json.dumps({"surroundings": surroundings(), "layout": layout})
    np.savez_compressed(FILE, allow_pickle=False, about=np.asarray(about), **arrays)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()[:16]
    numbers_in_all = sum(array.size for array in arrays.values())
    print(f"{len(CASES)} cases, {numbers_in_all:,} numbers, {FILE.stat().st_size:,} bytes, digest {digest}")


if __name__ == "__main__":
    record()
