"""Products, mixtures, affine images and matrices: what they refuse, and what holds beyond sampling and density."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine.distributions as md
from mcengine.distributions import triangular
from mcengine.numerics import log_space


def test_a_mixture_of_many_is_the_weighted_sum():
    law = md.Mixture([md.Normal(0.0, 1.0), md.StudentT(3.0, 2.0), md.Gumbel(-1.0)], [0.2, 0.3, 0.5])
    x = 1.7
    exact = 0.2 * stats.norm.pdf(x) + 0.3 * stats.t(3.0, 2.0).pdf(x) + 0.5 * stats.gumbel_r(-1.0).pdf(x)
    assert float(law.log_prob(jnp.asarray(x))) == pytest.approx(np.log(exact), rel=1e-6)


def test_a_mixture_off_the_support_of_one_or_of_all():
    law = md.Mixture([md.Uniform(0.0, 1.0), md.Exponential(1.0)], [0.5, 0.5])
    value, slope = jax.value_and_grad(law.log_prob)(jnp.asarray(3.0))
    assert float(value) == pytest.approx(np.log(0.5) - 3.0, rel=1e-6)
    assert float(slope) == pytest.approx(-1.0)
    value, slope = jax.value_and_grad(law.log_prob)(jnp.asarray(-3.0))
    assert value == -jnp.inf
    assert slope == 0.0
    assert [float(side) for side in law.support] == [0.0, np.inf]


def test_the_weights_of_a_mixture_are_kept_in_the_sampler():
    # 0.999995 is within the tolerance: the rest is normalised away, in the density too.
    law = md.Mixture([md.Normal(-50.0), md.Normal(50.0)], [0.3, 0.699995])
    ends = jax.vmap(lambda x: law.log_prob(x))(jnp.asarray([-50.0, 50.0]))
    np.testing.assert_allclose(np.exp(ends) * np.sqrt(2 * np.pi), [0.3 / 0.999995, 0.699995 / 0.999995], rtol=1e-6)


@pytest.mark.parametrize(
    ("components", "weights", "message"),
    [
        ([md.Normal(), md.Normal()], [0.5, 0.6], r"must sum to 1, got \[0.5 0.6\], whose sum is 1.1"),
        ([md.Normal(), md.Normal()], [1.2, -0.2], r"must not be negative, got \[ 1.2 -0.2\]"),
        ([md.Normal(), md.Normal()], [np.nan, 1.0], "must not be negative"),
        ([md.Normal(), md.Normal()], [1.0], r"2 components need weights of shape \(2,\), got shape \(1,\)"),
        (
            [md.Normal(), md.Normal([0.0, 1.0])],
            [0.5, 0.5],
            r"component 0 has float32\[\], component 1 has float32\[2\]",
        ),
        ([md.Normal(), md.Bernoulli(0.5)], [0.5, 0.5], r"component 1 has int32\[\]"),
        ([], [], "list of components is empty"),
    ],
)
def test_mixtures_that_are_refused(components, weights, message):
    with pytest.raises(ValueError, match=message):
        md.Mixture(components, weights)


def test_a_mixture_is_a_transport_only_if_all_its_components_are():
    assert md.is_transport(md.Mixture([md.Normal(), md.StudentT(3.0)], [0.5, 0.5]))

    class Sampled(eqx.Module):
        def sample(self, key):
            return jax.random.exponential(key)

        def log_prob(self, x):
            return -x

    law = md.Mixture([md.Exponential(), Sampled()], [0.5, 0.5])
    assert not md.is_transport(law)
    with pytest.raises(AttributeError, match="Mixture has no forward: Sampled cannot be drawn through uniforms"):
        law.forward(jnp.zeros(2))


@pytest.mark.parametrize(
    "hold",
    [
        lambda law: law,
        lambda law: md.Product([md.Normal(), law]),
        lambda law: md.Mixture([md.Exponential(), law], [0.5, 0.5]),
        lambda law: md.Mixture([md.Affine(md.Mixture([law], [1.0]), 1.0), law], [0.5, 0.5]),
        lambda law: md.Affine(law, 1.0, -2.0),
    ],
)
def test_what_holds_a_gamma_is_drawn_by_rejection_and_by_uniforms_alike(hold, key):
    law = hold(md.Gamma(2.5))
    assert md.prefers_sample_many(law)
    assert md.is_transport(law)
    assert not md.prefers_sample_many(hold(md.Normal()))
    program = jax.make_jaxpr(lambda law, key: md.sample_many(law, key, 4))(law, key)
    assert "while" in str(program)
    assert jax.eval_shape(law.forward, jnp.zeros(law.num_uniforms))[0] == md.event_struct(law)


def test_a_truncated_gamma_has_no_other_way_than_uniforms():
    assert not md.prefers_sample_many(md.Truncated(md.Gamma(2.0), 1.0, 3.0))


def test_the_pathwise_derivative_of_a_choice_is_refused_and_the_score_form_is_not(key):
    def pathwise(weight):
        return md.Mixture([md.Normal(), md.Normal(5.0)], jnp.stack([weight, 1 - weight])).sample(key)

    with pytest.raises(ValueError, match="derivative of a discrete choice"):
        jax.grad(pathwise)(jnp.asarray(0.3))

    @jax.jit
    def score(weight):
        law = md.Mixture([md.Normal(), md.Normal(5.0)], jnp.stack([weight, 1 - weight]))
        x, _ = jax.lax.stop_gradient(law).forward(jnp.asarray([0.2, -0.1]))
        return law.log_prob(x)

    assert np.isfinite(jax.grad(score)(jnp.asarray(0.3)))
    # Along the components a mixture is pathwise differentiable.
    assert jax.grad(lambda loc: md.Mixture([md.Normal(loc), md.Normal(loc + 5.0)], [0.5, 0.5]).forward(
        jnp.asarray([0.2, -0.1]))[0])(jnp.asarray(0.0)) == 1.0  # fmt: skip


def test_a_product_of_discrete_and_continuous_parts(key):
    law = md.Product([md.Normal(1.0, 2.0), md.Categorical([0.2, 0.8]), md.Exponential([1.0, 2.0])])
    x = md.sample_many(law, key, 4)
    assert x.shape == (4, 4)
    assert x.dtype == jnp.float32
    point = jnp.asarray([0.5, 1.0, 0.3, 0.4])
    exact = stats.norm(1, 2).logpdf(0.5) + np.log(0.8) + stats.expon.logpdf(0.3) + stats.expon(scale=0.5).logpdf(0.4)
    assert float(law.log_prob(point)) == pytest.approx(exact, rel=1e-6)
    assert law.log_prob(jnp.asarray([0.5, 0.5, 0.3, 0.4])) == -jnp.inf
    lower, upper = law.support
    np.testing.assert_array_equal(lower, [-np.inf, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(upper, [np.inf, 1.0, np.inf, np.inf])


@pytest.fixture(scope="module")
def covariance():
    root = np.random.default_rng(1).normal(size=(7, 7))
    return root @ root.T + 0.5 * np.eye(7)


def test_multivariate_normal_density_is_scipys(covariance):
    loc = np.arange(7.0)
    law = md.MultivariateNormal(loc, covariance=covariance)
    points = np.random.default_rng(2).normal(size=(20, 7)) * 3
    exact = stats.multivariate_normal(loc, covariance).logpdf(points)
    ours = jax.vmap(law.log_prob)(jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(np.asarray(ours), exact, rtol=2e-5)


def test_traced_factorisations_need_no_lapack(covariance):
    """Independent LAPACK calls batched by vmap can hang for ever: what is traced is factorised by plain loops."""

    def make(scale):
        return md.MultivariateNormal(jnp.zeros(7), covariance=scale * jnp.asarray(covariance, jnp.float32))

    batch = jax.vmap(make)(jnp.asarray([1.0, 4.0]))
    eager = md.MultivariateNormal(np.zeros(7), covariance=covariance)
    np.testing.assert_allclose(batch.factor[0], eager.factor, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batch.inverse[1], 0.5 * eager.inverse, rtol=2e-4, atol=1e-5)
    program = jax.jit(jax.vmap(make)).lower(jnp.ones(2)).as_text()
    assert "custom_call" not in program


def test_gradients_along_a_covariance_are_right(covariance):
    x = jnp.asarray(np.linspace(-1.0, 1.0, 7), jnp.float32)
    direction = np.diag(np.arange(7.0)) + np.eye(7, k=1) + np.eye(7, k=-1)

    def log_prob(t):
        return md.MultivariateNormal(
            jnp.zeros(7), covariance=jnp.asarray(covariance, jnp.float32) + t * jnp.asarray(direction, jnp.float32)
        ).log_prob(x)

    inverse = np.linalg.inv(covariance)
    exact = 0.5 * x @ inverse @ direction @ inverse @ x - 0.5 * np.trace(inverse @ direction)
    assert float(jax.grad(log_prob)(jnp.asarray(0.0))) == pytest.approx(float(exact), rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"covariance": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite; its smallest eigenvalue is -1"),
        ({"covariance": [[1.0, 0.5], [0.2, 1.0]]}, "must be symmetric"),
        ({"factor": [[1.0, 0.5], [0.2, 1.0]]}, "must be lower triangular"),
        ({"factor": [[1.0, 0.0], [0.2, -1.0]]}, "diagonal of factor must be positive"),
        ({"factor": [[1.0, 0.0]]}, "square matrix"),
        ({"covariance": [1.0, 2.0]}, "square matrix"),
        ({"factor": [[1.0, 0.0], [0.0, 1.0]], "covariance": [[1.0]]}, "either factor or covariance"),
    ],
)
def test_matrices_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        md.MultivariateNormal([0.0, 0.0], **arguments)


def test_a_location_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"2 by 2 factor needs loc of shape \(2,\), got \(3,\)"):
        md.MultivariateNormal([0.0, 0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])


def test_the_inverse_of_a_traced_triangle():
    factor = jnp.asarray([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-3.0, 2.0, 4.0]])
    inverse = jax.jit(triangular.inverse)(factor)
    np.testing.assert_allclose(inverse @ factor, np.eye(3), atol=1e-6)


def test_affine_refuses_what_has_no_density_afterwards():
    with pytest.raises(ValueError, match="scale must be finite and not 0"):
        md.Affine(md.Normal(), 0.0, 0.0)
    with pytest.raises(ValueError, match="one array of floats"):
        md.Affine(md.Poisson(3.0), 0.0, 2.0)
    with pytest.raises(ValueError, match="either scale or factor"):
        md.Affine(md.Normal([0.0]), 0.0, 2.0, factor=[[1.0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: md.Normal(0.0, -1.0), "Normal: scale must be positive and finite, got -1.0"),
        (lambda: md.StudentT(0.0), "StudentT: df must be positive and finite, got 0.0"),
        (lambda: md.Uniform(2.0, 1.0), "lower must be below upper, got lower=2.0 and upper=1.0"),
        (lambda: md.Box([0.0, 3.0], [1.0, 2.0]), r"upside down: lower=\[0. 3.\] must be below upper=\[1. 2.\]"),
        (lambda: md.Box(1.0, 1.0), "equal"),
        (lambda: md.Box(np.nan, 1.0), "a limit is NaN"),
        (lambda: md.Box([0.0], 1.0), r"same shape, got \(1,\) and \(\)"),
        (lambda: md.Box(np.inf, np.inf), "equal"),
        (lambda: md.Categorical([0.5, 0.6]), "probabilities must sum to 1"),
        (lambda: md.Categorical([1.5, -0.5]), "must not be negative"),
        (lambda: md.Categorical([0.5, 0.5], logits=[0.0, 0.0]), "either probabilities or logits"),
        (lambda: md.Bernoulli(1.5), "must lie between 0 and 1, got 1.5"),
        (lambda: md.Poisson(-1.0), "rate must be positive"),
        (lambda: md.Gamma(np.nan), "shape must be positive and finite, got nan"),
        (lambda: md.Pushforward(lambda u: u, lambda x: 0.0, 0), "num_uniforms must be a positive integer"),
        (lambda: md.Pushforward(lambda u: u, lambda x: 0.0, 1, "open"), '"centred" or "plain", got \'open\''),
        (lambda: md.Product([]), "empty"),
    ],
)
def test_parameters_that_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_parameters_broadcast_to_the_event():
    law = md.StudentT([3.0, 4.0], [[1.0], [2.0], [3.0]], 0.5)
    assert md.event_struct(law).shape == (3, 2)
    assert law.num_uniforms == 12
    assert law.log_prob(jnp.zeros((3, 2))).shape == ()


def test_a_box_made_under_jit_is_the_same_law():
    v = jnp.asarray([0.3, -0.2, 0.1, -0.4])
    limits = (jnp.asarray([0.0, 1.0, -np.inf, -np.inf]), jnp.asarray([2.0, np.inf, 3.0, np.inf]))
    eager = md.Box(*limits).forward(v)
    traced = jax.jit(lambda low, high: md.Box(low, high).forward(v))(*limits)
    for one, other in zip(eager, traced, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    for i in range(4):  # each side alone, by its own formula
        x, _ = md.Box(limits[0][i], limits[1][i]).forward(v[i : i + 1])
        np.testing.assert_allclose(x, eager[0][i], rtol=1e-6)


@pytest.mark.parametrize("shape", [0.02, 0.4, 3.0, 50.0])
def test_gamma_draws_are_differentiable_along_the_shape(key, shape):
    """The implicit derivative -(dF/da) / f at the draw, against finite differences of SciPy's quantile."""
    draw = jax.jit(jax.value_and_grad(lambda a, k: md.Gamma(a).sample(k)))
    for i in range(4):
        x, slope = draw(jnp.asarray(shape), jax.random.fold_in(key, i))
        if x < 1e-30:
            continue
        u, step = stats.gamma(shape).cdf(float(x)), 1e-4 * shape
        if not 1e-12 < u < 1 - 1e-9:
            continue
        exact = (stats.gamma(shape + step).ppf(u) - stats.gamma(shape - step).ppf(u)) / (2 * step)
        assert float(slope) == pytest.approx(exact, rel=5e-3)


def test_gamma_draws_of_a_tiny_shape_do_not_vanish(key):
    x = np.asarray(md.sample_many(md.Gamma(1e-3), key, 2000))
    assert np.all(x > 0)
    # P(X < 1e-30) = 1e-30^(1e-3) = 0.933
    assert np.mean(x < 1e-30) == pytest.approx(stats.gamma(1e-3).cdf(1e-30), abs=0.03)


def test_a_gamma_with_a_traced_nan_shape_ends(key):
    assert np.isnan(jax.jit(lambda a: md.Gamma(a).sample(key))(jnp.asarray(np.nan)))


def test_log_sum_exp_survives_nothing_and_infinity():
    assert log_space.log_sum_exp([jnp.asarray(-jnp.inf), jnp.asarray(-jnp.inf)]) == -jnp.inf
    assert log_space.log_sum_exp([jnp.asarray(-jnp.inf), jnp.asarray(2.0)]) == 2.0
    assert log_space.log_sum_exp([jnp.asarray(jnp.inf), jnp.asarray(2.0)]) == jnp.inf


def test_functions_with_parameters_of_their_own():
    class Scaled(eqx.Module):
        factor: jax.Array

        def __call__(self, u):
            return self.factor * u

    traces = []

    @eqx.filter_jit
    def draw(law):
        traces.append(None)
        return law.forward(jnp.asarray([0.25]))[0]

    density = eqx.Partial(lambda factor, x: -jnp.sum(jnp.log(factor)), jnp.asarray(2.0))
    for factor in (2.0, 3.0):
        law = md.Pushforward(Scaled(jnp.asarray(factor)), density, 1, "plain")
        assert draw(law) == 0.25 * factor
    assert len(traces) == 1
