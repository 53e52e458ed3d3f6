"""Every file of conf/ builds what it names, and a misspelt name is answered with the names near it."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

import mcengine as mc
from experiments import config, jobs, study
from experiments.measure import Ladder
from experiments.renamed import RENAMED, current_overrides
from experiments.stopping import Tolerances
from mcengine.functionals import exact_value

PROBLEMS = config.group_options("problem")
OWN = {problem: [p for p in config.group_options("proposal") if p.startswith(f"{problem}/")] for problem in PROBLEMS}
# Problems that differ only in the integrand share proposals.
SHARED = {"gaussian_policy_entropy": "gaussian_policy", "gaussian_policy_kl": "gaussian_policy"}
PAIRS = [(problem, p) for problem in PROBLEMS for p in ["plain", *(OWN[problem] or OWN.get(SHARED.get(problem), []))]]
USUAL = {
    "defensive": ["proposal=defensive", "proposal@proposal.base=gaussian_tail/shifted"],
    "chosen_weights": ["proposal=chosen_weights", "proposal@proposal.base=gaussian_tail/defensive"],
}


# A problem and proposal for each of the controls.
CONTROLLED = {
    "components": ("plane_light", "plane_light/cosine_and_lamp"),
    "legendre": ("genz_gaussian", "plain"),
    "keister/radius_powers": ("keister", "plain"),
    "index_fall/exceedance_counts": ("index_fall", "index_fall/inflated"),
    "path_option/underlying": ("path_option", "plain"),
    "path_option/lognormal_twin": ("path_option", "plain"),
    "plane_light/light_visibility": ("plane_light", "plain"),
    "tabular_mdp/advantage_sums": ("tabular_mdp", "plain"),
}
# A problem for each of the functionals, and the overrides that it needs.
OBSERVED = {
    "tail_risk": ["problem=normal_loss"],
    "histogram": ["problem=gaussian_tail"],
    "ratio": ["problem=loss_beyond", "functional.numerator=loss", "functional.denominator=beyond"],
    "variance": ["problem=normal_loss"],
    "covariance": ["problem=loss_beyond", "functional.first=loss", "functional.second=beyond"],
    "probability_of_exceeding": ["problem=normal_loss"],
}
# True values that a functional cannot compute: Cov(L 1{L >= t}, 1{L >= t}) = E[L 1{L >= t}] (1 - P(L >= t)).
KNOWN = {
    "variance": lambda problem: 2.0**2,
    "covariance": lambda problem: problem.exact["loss"] * (1.0 - problem.exact["beyond"]),
}


@pytest.mark.parametrize(("problem", "proposal"), PAIRS)
def test_every_problem_builds_with_each_of_its_proposals_and_weighs_a_sample(problem, proposal):
    built, q = config.build_problem(config.compose([f"problem={problem}", f"proposal={proposal}"]))
    q = built.plain if q is None else mc.as_distribution(q)

    # One compiled function: without it mixtures take ten times as long.
    @jax.jit
    def weigh(key):
        x = q.sample(key)
        return mc.weights.log_ratio(built.target.log_prob(x), q.log_prob(x)), built.integrand(x)

    log_w, value = weigh(jax.random.key(0))
    assert not np.any(np.isnan(log_w))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(value))


def test_every_file_of_every_group_is_used_by_some_test():
    own = {proposal for proposals in OWN.values() for proposal in proposals}
    assert own | {"plain", *USUAL} == set(config.group_options("proposal"))
    assert set(CONTROLLED) == set(config.group_options("controls")) - {"none"}
    assert set(OBSERVED) == set(config.group_options("functional")) - {"mean"}
    groups = {"problem", "proposal", "points", "mis", "weighting", "controls", "functional", "budget"}
    assert set(config.groups()) == groups


@pytest.mark.parametrize(
    "controls",
    [
        pytest.param(c, marks=pytest.mark.battery) if c in ("legendre", "path_option/underlying") else c
        for c in CONTROLLED
    ],
)
def test_every_control_is_built_for_its_problem_and_reduces_the_variance_without_bias(controls):
    problem, proposal = CONTROLLED[controls]
    cfg = config.compose([f"problem={problem}", f"proposal={proposal}", f"controls={controls}"])
    built, q = config.build_problem(cfg)
    made = config.build_methods(cfg, built, ["controls"])["controls"]
    keys, budget = jax.random.split(jax.random.key(3), 64), mc.Samples(2**13)
    plain, controlled = (mc.replicate(keys, built, q, controls=c, budget=budget) for c in (None, made))
    spread = [np.std(runs.value, ddof=1) for runs in (plain, controlled)]
    assert spread[1] < 0.95 * spread[0]
    # If there is no exact value, the plain runs with the same samples replace it.
    truth = np.mean(plain.value) if built.exact is None else built.exact
    error = np.hypot(spread[1], spread[0] if built.exact is None else 0.0) / 8.0
    assert abs(np.mean(controlled.value) - truth) < 4.0 * error


@pytest.mark.parametrize("functional", OBSERVED)
def test_every_functional_is_estimated_and_its_interval_contains_the_exact_value(functional):
    cfg = config.compose([f"functional={functional}", *OBSERVED[functional]])
    built, _ = config.build_problem(cfg)
    made = config.build_methods(cfg, built, ["functional"])["functional"]
    result = mc.estimate(jax.random.key(4), built, functional=made, budget=mc.Samples(2**16))
    exact = KNOWN[functional](built) if functional in KNOWN else exact_value(made, built)
    lows, highs = result.interval(0.9999)
    assert jax.tree.structure(lows) == jax.tree.structure(exact)
    for low, truth, high in zip(*map(jax.tree.leaves, (lows, exact, highs)), strict=True):
        assert np.shape(low) == np.shape(truth)
        assert np.all((low <= truth) & (truth <= high))


def test_controls_of_another_problem_are_refused_with_a_message():
    cfg = config.compose(["problem=keister", "controls=plane_light/light_visibility"])
    built, _ = config.build_problem(cfg)
    with pytest.raises(TypeError, match="light_visibility: the problem must be a plane_light"):
        config.build_methods(cfg, built, ["controls"])


def test_a_defensive_proposal_takes_any_other():
    problem, proposal = config.build_problem(config.compose(USUAL["defensive"]))
    assert float(proposal.defensive_share) == pytest.approx(0.1)
    # Far from the event only the component of the target contributes.
    log_w = float(problem.target.log_prob(jnp.asarray(-3.0)) - proposal.log_prob(jnp.asarray(-3.0)))
    assert log_w == pytest.approx(np.log(10.0), abs=1e-4)


def test_chosen_weights_take_any_mixture():
    _, given = config.build_problem(config.compose(["proposal=gaussian_tail/defensive"]))
    _, chosen = config.build_problem(config.compose([*USUAL["chosen_weights"], "proposal.floor=0.08"]))
    assert type(chosen) is type(given)
    # N(5, 1) is nearly all that is needed.
    assert float(chosen.defensive_share) == pytest.approx(0.04, rel=1e-5)
    _, other = config.build_problem(config.compose([*USUAL["chosen_weights"], "proposal.floor=0.2"]))
    assert float(other.defensive_share) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("group", ["points", "mis", "weighting", "budget"])
def test_every_option_of_the_smaller_groups_builds(group):
    # No heuristic is the balance heuristic.
    heuristic = (mc.mis.Heuristic, type(None))
    kinds = {"points": mc.points.Points, "mis": heuristic, "weighting": mc.weighting.Weighting}
    kinds["budget"] = (Ladder, Tolerances)
    for option in config.group_options(group):
        assert isinstance(config.build(config.compose([f"{group}={option}"])[group]), kinds[group])


# Hydra composes the many jobs of these two in half a minute.
@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(experiment, marks=pytest.mark.battery) if experiment in ("points", "mis") else experiment
        for experiment in config.group_options("experiment")
    ],
)
def test_every_experiment_names_different_jobs_with_plain_sampling_and_two_more_for_each_problem(experiment):
    methods, fields = {}, set()
    for job in [job for task in study.sweeps(experiment) for job in task]:
        cfg = config.compose(job)
        made = jobs.describe(cfg, job, dict(cfg.hydra.runtime.choices))
        methods.setdefault((made["problem"], made["case"]), []).append(made["method"])
        fields.add(cfg.problem._target_.split(".")[1])
    for used in methods.values():
        assert len(set(used)) == len(used) >= 3
        assert "plain" in used
    assert fields >= {"integrals", "finance", "rendering", "rl"}
    assert len({problem for problem, _ in methods}) >= 6


@pytest.mark.parametrize(("experiment", "group"), [("points", "points"), ("mis", "mis")])
def test_a_sweep_over_a_group_has_every_option_of_it(experiment, group):
    chosen = {}
    for job in [job for task in study.sweeps(experiment) for job in task]:
        words = dict(word.split("=", 1) for word in job)
        chosen.setdefault((words["problem"], words["proposal"]), set()).add(words.get(group))
    # If the sweep is over another proposal, plain sampling is only the reference.
    swept = [options - {None} for (_, proposal), options in chosen.items() if len(options) > 1 or proposal != "plain"]
    assert len(swept) >= 5
    assert all(options == set(config.group_options(group)) for options in swept)


@pytest.mark.parametrize(("experiment", "group"), [("controls", "controls"), ("functionals", "functional")])
def test_every_option_made_for_some_problem_is_in_its_sweep_beside_plain_sampling(experiment, group):
    chosen = set()
    for job in [job for task in study.sweeps(experiment) for job in task]:
        chosen.add(config.compose(job).hydra.runtime.choices[group])
    # Every other sweep is of the mean.
    assert chosen == set(config.group_options(group)) - {"mean"}


def test_lists_of_numbers_become_arrays_and_other_lists_stay():
    made = config.build(OmegaConf.create({"_target_": "builtins.dict", "a": [[1, 2.5], [3, 4]], "b": ["x"], "c": 1.0}))
    np.testing.assert_array_equal(made["a"], [[1, 2.5], [3, 4]])
    assert isinstance(made["a"], np.ndarray)
    assert made["b"] == ["x"]
    assert made["c"] == 1.0


@pytest.mark.parametrize("option", RENAMED, ids=lambda option: option.old)
def test_the_old_name_of_an_option_gives_the_config_of_the_new_one_with_a_warning(option):
    base = "proposal@proposal.base=gaussian_tail/defensive"
    more = [base] if option.new == "chosen_weights" else []
    with pytest.warns(DeprecationWarning, match=f"{option.group}={option.old} is now {option.group}={option.new}"):
        old = config.compose([f"{option.group}={option.old}", *more])
    new = config.compose([f"{option.group}={option.new}", *more])
    assert old[option.group] == new[option.group]
    assert old.hydra.runtime.choices[option.group] == option.new
    assert new[option.group]["_target_"] == option.new_target
    # A user's own YAML may name the old function.
    module = importlib.import_module(option.old_target.rpartition(".")[0])
    with pytest.warns(DeprecationWarning, match="is now"):
        old_function = getattr(module, option.old_target.rpartition(".")[2])
    assert old_function is getattr(module, option.new_target.rpartition(".")[2])


def test_old_names_are_found_in_sweeps_and_in_a_place_but_not_inside_other_words():
    sweep = ["proposal=plain,defensive", "proposal@proposal.base=chosen_shares,index_fall/one_bad_day"]
    with pytest.warns(DeprecationWarning, match="is now") as caught:
        jobs_of_sweep = study.expand(sweep)
    assert jobs_of_sweep[1] == ["proposal=plain", "proposal@proposal.base=index_fall/one_big_jump"]
    assert len(caught) == 2
    others = ["-m", "controls=mine/tabular_mdp/luck", "points=tabular_mdp/luck", "problem.csv=chosen_shares.csv"]
    assert current_overrides(others) == others


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("problem=gausian_tail", "gaussian_tail"),
        ("proposal=gaussian_tail/shfted", "gaussian_tail/shifted"),
        ("weighting=self_normalized", "self_normalised"),
        ("problem.treshold=3", "problem.threshold"),
        ("problm=gaussian_tail", "problem"),
        ("budget.max_sample=3", "budget.max_samples"),
        ("sed=3", "seed"),
    ],
)
def test_a_misspelt_name_is_answered_with_a_similar_one(override, near):
    with pytest.raises(HydraException) as caught:
        config.compose([override])
    said = config.explain(caught.value, [override])
    assert "Did you mean" in said
    assert near in said
    assert override.partition("=")[0].rpartition(".")[2] in said


def test_a_name_without_a_similar_one_is_answered_with_all_names():
    with pytest.raises(HydraException) as caught:
        config.compose(["points=zzzz"])
    assert "points has: antithetic, iid, " in config.explain(caught.value, ["points=zzzz"])


def test_an_unknown_experiment_is_answered_with_a_similar_one():
    with pytest.raises(ValueError, match="Did you mean overview"):
        study.sweeps("overvew")


def test_an_invalid_number_gives_the_constructors_message():
    with pytest.raises(ValueError, match="scale must be positive, got -1"):
        config.build(config.compose(["problem.scale=-1"]).problem)


def test_a_value_without_a_default_that_is_not_given_is_named():
    with pytest.raises(ValueError, match=r"mcengine.Covariance: first has no default and must be given\."):
        config.build(config.compose(["functional=covariance"]).functional)


def test_an_unknown_target_is_answered_with_a_similar_one():
    with pytest.raises(ValueError, match=r"mcengine has no 'Nrmal'.*Normal"):
        config.build({"_target_": "mcengine.Nrmal"})


def test_sweeps_multiply_commas_and_keep_jobs_of_one_structure_together():
    tasks = study.sweeps("overview", ["seed=1,2"])
    falls = next(task for task in tasks if "proposal=index_fall/inflated" in task[0])
    assert {override for job in falls for override in job if override.startswith("problem.fall")} == {
        f"problem.fall={fall}" for fall in (0.1, 0.2, 0.3, 0.5)
    }
    assert study.expand(["a=1,2", "b=3"]) == [["a=1", "b=3"], ["a=2", "b=3"]]
