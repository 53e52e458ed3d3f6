"""The door for other libraries: known families become ours, the rest are wrapped, nonsense is refused in words."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcengine.distributions as md
from mcengine.distributions.foreign import Foreign, as_density, relaxed
from mcengine.distributions.protocol import is_transport

ROOT = Path(__file__).resolve().parents[2]

NUMPYRO_KNOWN = {
    "Normal": (lambda d: d.Normal(1.0, 2.0), md.Normal),
    "Normal.to_event": (lambda d: d.Normal(jnp.zeros(3), 2.0).to_event(1), md.Normal),
    "Normal.expand": (lambda d: d.Normal(1.0, 2.0).expand((3,)).to_event(1), md.Normal),
    "LogNormal": (lambda d: d.LogNormal(1.0, 2.0), md.LogNormal),
    "Uniform": (lambda d: d.Uniform(-1.0, 2.0), md.Uniform),
    "Exponential": (lambda d: d.Exponential(3.0), md.Exponential),
    "StudentT": (lambda d: d.StudentT(3.0, 1.0, 2.0), md.StudentT),
    "Cauchy": (lambda d: d.Cauchy(1.0, 2.0), md.StudentT),
    "Gamma": (lambda d: d.Gamma(3.0, 2.0), md.Gamma),
    "Beta": (lambda d: d.Beta(3.0, 2.0), md.Beta),
    "Gumbel": (lambda d: d.Gumbel(3.0, 2.0), md.Gumbel),
    "Weibull": (lambda d: d.Weibull(3.0, 2.0), md.Weibull),
    "Poisson": (lambda d: d.Poisson(3.0), md.Poisson),
    "Categorical": (lambda d: d.Categorical(jnp.array([0.2, 0.8])), md.Categorical),
    "Categorical logits": (lambda d: d.Categorical(logits=jnp.array([0.2, 0.8])), md.Categorical),
    "Bernoulli": (lambda d: d.Bernoulli(0.3), md.Bernoulli),
    "Bernoulli logits": (lambda d: d.Bernoulli(logits=0.3), md.Bernoulli),
    "MultivariateNormal": (
        lambda d: d.MultivariateNormal(jnp.ones(2), jnp.array([[2.0, 0.5], [0.5, 1.0]])),
        md.MultivariateNormal,
    ),
    "Mixture": (
        lambda d: d.MixtureSameFamily(d.Categorical(jnp.array([0.2, 0.8])), d.Normal(jnp.array([0.0, 5.0]), 1.0)),
        md.Mixture,
    ),
    "Mixture of vectors": (
        lambda d: d.MixtureSameFamily(
            d.Categorical(jnp.array([0.2, 0.8])), d.MultivariateNormal(jnp.array([[0.0, 0.0], [3.0, 1.0]]), jnp.eye(2))
        ),
        md.Mixture,
    ),
}
NUMPYRO_WRAPPED = {
    "Laplace": lambda d: d.Laplace(1.0, 2.0),
    "Pareto": lambda d: d.Pareto(0.01, 3.0),
    "HalfCauchy": lambda d: d.HalfCauchy(2.0),
    "HalfNormal": lambda d: d.HalfNormal(2.0),
    "TruncatedNormal": lambda d: d.TruncatedNormal(0.0, 1.0, low=-1.0),
    "Dirichlet": lambda d: d.Dirichlet(jnp.array([1.0, 2.0, 3.0])),
    "Binomial": lambda d: d.Binomial(10, 0.3),
    "Transformed": lambda d: d.TransformedDistribution(d.Normal(0.0, 1.0), d.transforms.SigmoidTransform()),
}


@pytest.fixture(scope="module")
def numpyro():
    with relaxed():
        return pytest.importorskip(
            "numpyro.distributions", reason="numpyro is an oracle here; it is in the extra `all`"
        )


def _library(name, reason):
    with relaxed():
        return pytest.importorskip(name, reason=reason)


@eqx.filter_jit
def _log_probs(law, x):
    return jax.vmap(law.log_prob)(x)


def _agree(ours, theirs, tolerance=2e-5):
    """The same density at a few points that nearly all of these laws can take."""
    struct = md.event_struct(ours)
    rng = np.random.default_rng(8)
    x = rng.uniform(0.05, 0.95, (6, *struct.shape)) if struct.dtype == jnp.float32 else rng.integers(0, 2, 6)
    if isinstance(ours, Foreign) and type(theirs).__name__ == "Dirichlet":
        x = x / x.sum(-1, keepdims=True)
    x = jnp.asarray(x, struct.dtype)
    with relaxed():
        exact = np.asarray(theirs.log_prob(x))
    np.testing.assert_allclose(np.asarray(_log_probs(ours, x)), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NUMPYRO_KNOWN)
def test_known_families_of_numpyro_become_ours(name, numpyro):
    make, family = NUMPYRO_KNOWN[name]
    with relaxed():
        theirs = make(numpyro)
    ours = md.as_distribution(theirs)
    assert type(ours) is family
    assert md.event_struct(ours).shape == theirs.event_shape
    _agree(ours, theirs)


@pytest.mark.parametrize("name", NUMPYRO_WRAPPED)
def test_the_rest_of_numpyro_is_wrapped(name, numpyro, key):
    with relaxed():
        theirs = NUMPYRO_WRAPPED[name](numpyro)
    ours = md.as_distribution(theirs)
    assert isinstance(ours, Foreign)
    assert not is_transport(ours)
    assert list(ours.parameters) == sorted(ours.parameters)
    _agree(ours, theirs)
    many_key, one_key = jax.random.split(key)
    assert md.sample_many(ours, many_key, 3).shape == (3, *theirs.event_shape)
    assert ours.sample(one_key).shape == theirs.event_shape
    again = pickle.loads(pickle.dumps(ours))
    assert again.template == ours.template


def test_a_wrapped_density_is_minus_infinity_off_the_support(numpyro):
    with relaxed():
        laws = [numpyro.HalfNormal(2.0), numpyro.Pareto(1.0, 3.0), numpyro.Binomial(10, 0.3)]
    for theirs, outside, inside in zip(laws, (-1.0, 0.5, 11), (1.0, 1.5, 3), strict=True):
        ours = md.as_distribution(theirs)
        assert ours.log_prob(jnp.asarray(outside)) == -jnp.inf
        assert np.isfinite(ours.log_prob(jnp.asarray(inside)))
        if isinstance(outside, float):
            assert np.isfinite(jax.grad(ours.log_prob)(jnp.asarray(outside)))
    assert float(md.as_distribution(laws[1]).support[0]) == 1.0


def test_a_wrapped_law_compiles_once_for_all_parameters(numpyro):
    traces = []

    @eqx.filter_jit
    def density(law, x):
        traces.append(None)
        return law.log_prob(x)

    for scale in (1.0, 2.0, np.float32(3.0), jnp.asarray(4.0)):
        with relaxed():
            theirs = numpyro.Laplace(0.0, scale)
        density(md.as_distribution(theirs), jnp.asarray(0.5))
    assert len(traces) == 1


def test_a_wrapped_law_has_gradients_along_its_parameters(numpyro):
    def log_prob(scale):
        with relaxed():
            return md.as_distribution(numpyro.Laplace(0.0, scale)).log_prob(jnp.asarray(3.0))

    assert float(jax.grad(log_prob)(jnp.asarray(2.0))) == pytest.approx(-1 / 2.0 + 3.0 / 4.0, rel=1e-6)


def test_the_leaves_of_a_wrapped_law_do_not_depend_on_the_hash_seed(numpyro):
    """numpyro's own order does, from process to process: what was saved by one would be misread by the next."""
    code = (
        "import numpyro.distributions as d, jax, mcengine.distributions as md;"
        "law = md.as_distribution(d.TruncatedNormal(0.5, 2.5, low=1.25));"
        "print([float(leaf) for leaf in jax.tree.leaves(law)])"
    )
    outputs = set()
    for seed in ("1", "4"):  # two that give numpyro two orders
        environment = {**os.environ, "PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
        )
        outputs.add(run.stdout)
    assert len(outputs) == 1


def test_a_batch_of_distributions_is_refused(numpyro):
    with relaxed():
        batch = numpyro.Normal(jnp.zeros(3), 1.0)
    with pytest.raises(ValueError, match=r"batch_shape \(3,\).*to_event"):
        md.as_distribution(batch)


def test_a_users_subclass_of_a_known_family_is_not_taken_for_it(numpyro):
    with relaxed():

        class Normal(numpyro.Normal):
            def log_prob(self, value, intermediates=None):
                return super().log_prob(value) + 1.0

        theirs = Normal(0.0, 1.0)
    ours = md.as_distribution(theirs)
    assert isinstance(ours, Foreign)
    _agree(ours, theirs)


def test_distrax(key):
    distrax = _library("distrax", "distrax is taken where it is installed; it has no release for every JAX")
    with relaxed():
        known = {
            md.Normal: distrax.Independent(distrax.Normal(jnp.zeros(3), 1.0), 1),
            md.Uniform: distrax.Uniform(0.0, 2.0),
            md.Gamma: distrax.Gamma(2.0, 3.0),
            md.Beta: distrax.Beta(2.0, 3.0),
            md.Gumbel: distrax.Gumbel(2.0, 3.0),
            md.Categorical: distrax.Categorical(probs=jnp.array([0.2, 0.8])),
            md.Bernoulli: distrax.Bernoulli(probs=0.3),
            md.MultivariateNormal: distrax.MultivariateNormalTri(jnp.ones(2), jnp.array([[1.0, 0.0], [0.5, 2.0]])),
            md.Mixture: distrax.MixtureSameFamily(
                distrax.Categorical(probs=jnp.array([0.2, 0.8])), distrax.Normal(jnp.array([0.0, 4.0]), jnp.ones(2))
            ),
            Foreign: distrax.Laplace(1.0, 2.0),
        }
    _check_library(known, key)


def test_tensorflow_probability(key):
    tfd = _library(
        "tensorflow_probability.substrates.jax.distributions", "TFP is taken where it is installed; only nightly builds"
    )
    with relaxed():
        known = {
            md.Normal: tfd.MultivariateNormalDiag(jnp.zeros(2), jnp.array([1.0, 2.0])),
            md.StudentT: tfd.StudentT(3.0, 1.0, 2.0),
            md.LogNormal: tfd.LogNormal(0.5, 2.0),
            md.Exponential: tfd.Exponential(2.0),
            md.GeneralisedPareto: tfd.GeneralizedPareto(0.0, 2.0, 0.3),
            md.Weibull: tfd.Weibull(3.0, 2.0),
            md.Poisson: tfd.Poisson(3.0),
            md.MultivariateNormal: tfd.MultivariateNormalTriL(jnp.ones(2), jnp.array([[1.0, 0.0], [0.5, 2.0]])),
            Foreign: tfd.Laplace(1.0, 2.0),
        }
    _check_library(known, key)


def test_flowjax(key):
    flowjax = _library("flowjax.distributions", "flowjax is taken where it is installed")
    with relaxed():
        known = {
            md.Normal: flowjax.Normal(jnp.zeros(3), 2.0),
            md.StudentT: flowjax.StudentT(3.0, 1.0, 2.0),
            md.Exponential: flowjax.Exponential(2.0),
            md.Gamma: flowjax.Gamma(2.0, 3.0),
            md.Beta: flowjax.Beta(2.0, 3.0),
            md.MultivariateNormal: flowjax.MultivariateNormal(jnp.ones(2), jnp.array([[2.0, 0.5], [0.5, 1.0]])),
            Foreign: flowjax.Laplace(1.0, 2.0),
        }
    _check_library(known, key)


def _check_library(known, key):
    for family, theirs in known.items():
        ours = md.as_distribution(theirs)
        assert type(ours) is family, theirs
        _agree(ours, theirs)
        if family is Foreign:
            assert np.isfinite(ours.log_prob(ours.sample(key)))


class _Duck:
    """What a user writes for one sample, without any of our classes."""

    def sample(self, key):
        return jax.random.uniform(key)

    def log_prob(self, x):
        return jnp.where((x >= 0) & (x <= 1), 0.0, -jnp.inf)


class _DuckWithShape(_Duck):
    def sample(self, key, sample_shape=()):
        return jax.random.uniform(key, sample_shape)


class _Mute:
    def sample(self, key):
        return key


class _Greedy(_Duck):
    def sample(self, key, sample_shape):
        return jax.random.uniform(key, sample_shape)


@pytest.mark.parametrize("duck", [_Duck(), _DuckWithShape(), md.Normal(), md.Mixture([md.Normal()], [1.0])])
def test_ours_and_yours_pass_through_unchanged(duck):
    assert md.as_distribution(duck) is duck


def test_an_error_names_the_methods_that_an_object_lacks():
    words = "NoneType is not a distribution: it has no method sample and no method log_prob"
    with pytest.raises(TypeError, match=words):
        md.as_distribution(None)
    with pytest.raises(TypeError, match="_Mute is not a distribution: it has no method log_prob"):
        md.as_distribution(_Mute())
    with pytest.raises(TypeError, match=r"_Greedy.sample must be callable as sample.key., .* key, sample_shape"):
        md.as_distribution(_Greedy())
    with pytest.raises(TypeError, match="Normal is a class, not a distribution"):
        md.as_distribution(md.Normal)


class _Density:
    def log_prob(self, x):
        return -x


def test_a_density_without_samples_passes_where_nothing_is_drawn():
    density, duck = _Density(), _Duck()
    assert as_density(density) is density
    assert as_density(duck) is duck
    assert type(as_density(md.Normal())) is md.Normal
    with pytest.raises(TypeError, match="_Density is not a distribution: it has no method sample"):
        md.as_distribution(density)
    with pytest.raises(TypeError, match=r"_Greedy.sample must be callable"):
        as_density(_Greedy())
