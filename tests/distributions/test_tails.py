"""Both tails, by enumeration of the extreme words of the generator, against SciPy's quantiles in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcengine.distributions as md
from mcengine import numerics

# The words next to either end of [0, 1), on a ladder from 2^-33 to 1/2, from both sides.
_LOW = np.unique(np.concatenate([np.arange(64), (2.0 ** np.arange(6, 31, 0.5)).astype(np.int64)])).astype(np.uint32)
WORDS = np.concatenate([_LOW, 2**32 - 1 - _LOW.astype(np.int64)]).astype(np.uint32)
SECOND = np.array([0, 1, 12345, 2**31, 2**32 - 1], np.uint32)

# Family, SciPy's law, relative tolerance of x. An exponential of z turns absolute into relative error.
FAMILIES = [
    (md.Normal(0.0, 1.0), stats.norm(), 1e-6),
    (md.Exponential(2.0), stats.expon(scale=0.5), 1e-6),
    (md.Gumbel(0.0, 2.0), stats.gumbel_r(0.0, 2.0), 1e-6),
    (md.Weibull(1.5, 2.0), stats.weibull_min(1.5, scale=2.0), 3e-6),
    (md.Weibull(0.5, 2.0), stats.weibull_min(0.5, scale=2.0), 1e-5),
    (md.GeneralisedPareto(0.4, 2.0), stats.genpareto(0.4, 0.0, 2.0), 3e-6),
    (md.GeneralisedPareto(-0.4, 2.0), stats.genpareto(-0.4, 0.0, 2.0), 2e-6),
    (md.LogNormal(0.0, 1.0), stats.lognorm(1.0), 4e-6),
    (md.Gamma(2.5, 0.5), stats.gamma(2.5, scale=2.0), 5e-6),
    (md.Gamma(0.3, 2.0), stats.gamma(0.3, scale=0.5), 2e-5),
    (md.Gamma(1e4), stats.gamma(1e4), 1e-6),
    (md.Beta(2.0, 3.5), stats.beta(2.0, 3.5), 5e-6),
    (md.Beta(0.4, 0.8), stats.beta(0.4, 0.8), 2e-5),
    (md.Beta(3e3, 7e3), stats.beta(3e3, 7e3), 1e-6),
    (md.Uniform(0.0, 3.0), stats.uniform(0.0, 3.0), 1e-6),
    (md.Box(-np.inf, np.inf), stats.t(2), 1e-6),
    (md.Box(0.0, np.inf), stats.lomax(2.0, 0.0, 2.0), 2e-6),
]


@eqx.filter_jit
def _forward(law, v):
    return jax.vmap(law.forward)(v)


def _probabilities(words, second=None):
    """(lower, upper) tail probability of each word, in float64: the circle of `centred_uniform`."""
    signed = words.view(np.int32)
    fraction = 0.5 if second is None else (second.astype(float) + 0.5) / 2.0**32
    small = (np.where(signed < 0, ~signed, signed).astype(float) + fraction) / 2.0**32
    return np.where(signed < 0, 1.0 - small, small), np.where(signed < 0, small, 1.0 - small), signed >= 0


def _exact(law, lower, upper, is_lower):
    return np.where(is_lower, law.ppf(lower), law.isf(upper))


@pytest.mark.parametrize(("family", "law", "rtol"), FAMILIES, ids=lambda v: type(v).__name__)
def test_the_extreme_words_of_one_draw(family, law, rtol):
    lower, upper, is_lower = _probabilities(WORDS)
    x, _ = _forward(family, numerics.centred_uniform(jnp.asarray(WORDS[None, :, None])))
    exact = _exact(law, lower, upper, is_lower)
    # Near a quantile of 0 only the absolute error means something.
    np.testing.assert_allclose(np.asarray(x, float), exact, rtol=rtol, atol=1e-7)
    assert lower.min() == 2.0**-33
    assert upper.min() == 2.0**-33


@pytest.mark.parametrize(("family", "law", "rtol"), FAMILIES, ids=lambda v: type(v).__name__)
def test_two_words_reach_further(family, law, rtol):
    second = np.resize(SECOND, WORDS.shape)
    words = np.sort(WORDS)  # next to each end all second words occur, and one program serves both tests
    lower, upper, is_lower = _probabilities(words, second)
    x, _ = _forward(family, numerics.centred_uniform(jnp.asarray(np.stack([words, second])[..., None])))
    np.testing.assert_allclose(np.asarray(x, float), _exact(law, lower, upper, is_lower), rtol=rtol, atol=1e-7)
    assert lower.min() < 2.0**-63


def test_a_normal_reaches_beyond_six_on_both_sides_with_one_word():
    ends = jnp.asarray([[0, 2**32 - 1]], jnp.uint32)
    x, _ = _forward(md.Normal(0.0, 1.0), numerics.centred_uniform(ends[..., None]))
    assert float(x[0]) < -6.2
    assert float(x[1]) > 6.2
    assert float(x[0]) == -float(x[1])


@pytest.mark.parametrize("df", [0.5, 1.0, 2.0, 4.0, 30.0, 1e6])
def test_baileys_polar_form_reaches_both_tails(df):
    radial, angular = (a.ravel() for a in np.meshgrid(WORDS[::3], WORDS[::11]))
    v = numerics.centred_uniform(jnp.asarray(np.stack([radial, angular], -1)[None]))
    t, log_q = _forward(md.StudentT(df), v)
    u, _, _ = _probabilities(radial)
    u2, _, _ = _probabilities(angular)
    log_u = np.where(u > 0.5, np.log1p(-_probabilities(radial)[1]), np.log(u))
    exact = np.sqrt(df * np.expm1(-2.0 / df * log_u)) * -np.cos(np.pi * u2)
    # A shape of 1/2 takes the square root of u^4: errors of log u are multiplied by 1/df.
    np.testing.assert_allclose(np.asarray(t, float), exact, rtol=2e-6 * (1 + 10 / df), atol=1e-7 * np.abs(exact).max())
    assert np.all(np.isfinite(np.asarray(log_q)))
    for side in (np.asarray(t, float).max(), -np.asarray(t, float).min()):
        assert stats.t(df).sf(side) < 2.0**-32


def test_rare_categories_at_both_ends_are_drawn_as_often_as_they_say():
    rare = 3.0e-9  # about 13 words of 2^32
    for probabilities in ([rare, 1 - 2 * rare, rare], [rare, 0.0, 1 - 2 * rare, 0.0, rare]):
        law = md.Categorical(probabilities)
        words = np.concatenate([np.arange(2000), 2**32 - 1 - np.arange(2000)]).astype(np.uint32)
        x, _ = _forward(law, numerics.centred_uniform(jnp.asarray(words[None, :, None])))
        counts = np.bincount(np.asarray(x), minlength=len(probabilities))
        assert abs(counts[0] - rare * 2**32) <= 1
        assert abs(counts[-1] - rare * 2**32) <= 1
        assert np.all(counts[np.asarray(probabilities) == 0.0] == 0)


@pytest.mark.parametrize("probability", [1e-9, 0.3, 1 - 2.0**-24])
def test_bernoulli_is_right_near_0_and_near_1(probability):
    words = np.concatenate([np.arange(4000), 2**32 - 1 - np.arange(4000)]).astype(np.uint32)
    x, _ = _forward(md.Bernoulli(probability), numerics.centred_uniform(jnp.asarray(words[None, :, None])))
    upper = (np.arange(4000) + 0.5) / 2**32
    assert abs(int(np.sum(np.asarray(x)[4000:])) - np.sum(upper < probability)) <= 1
    assert abs(int(np.sum(1 - np.asarray(x)[:4000])) - np.sum(upper < 1 - probability)) <= 1


def test_a_bernoulli_closer_to_1_than_a_float_can_be():
    law = md.Bernoulli(logits=23.0)  # 1 - p = 1e-10
    assert float(law.log_prob(0)) == pytest.approx(-23.0, rel=1e-6)
    assert float(law.log_prob(1)) == pytest.approx(-np.exp(-23.0), rel=1e-5)


def test_no_word_of_a_choice_lands_on_a_category_of_weight_zero():
    # Sums in two orders differ in the last bit; a gap there would be a sample of infinite weight.
    weights = np.random.default_rng(3).dirichlet(np.ones(40))
    weights[[0, 3, 4, 17, 39]] = 0.0
    law = md.Categorical(weights / weights.sum())
    around = np.round(np.cumsum(weights / weights.sum()) * 2.0**32).astype(np.int64)
    words = (around[:, None] + np.arange(-300, 300)).clip(0, 2**32 - 1).astype(np.uint32).ravel()
    x, log_q = _forward(law, numerics.centred_uniform(jnp.asarray(words[None, :, None])))
    assert not np.isin(np.asarray(x), [0, 3, 4, 17, 39]).any()
    assert np.all(np.isfinite(np.asarray(log_q)))


@pytest.mark.parametrize(
    "law",
    [
        md.Uniform(0.0, 1.0),
        md.Uniform(-1.0, 0.0),
        md.Uniform(5.0, 7.0),
        md.Box(0.0, 1.0),
        md.Box([-np.inf, 5.0, -np.inf, 3.0], [0.0, 7.0, -8.0, np.inf]),
        md.Truncated(md.Box(0.0, 1.0), -1.0, 2.0),
    ],
    ids=lambda law: type(law).__name__,
)
def test_no_word_lands_on_a_limit_where_an_integrand_may_be_infinite(law):
    # Within 2^-25 of its upper limit, a float32 sample would be rounded to it.
    v = numerics.centred_uniform(jnp.asarray(WORDS[None, :, None]))
    x = np.asarray(_forward(law, jnp.tile(v, (1, law.num_uniforms)))[0])
    lower, upper = (np.asarray(side) for side in law.support)
    assert np.all((x > lower) & (x < upper))
    assert np.all(np.isfinite(x))


@pytest.mark.parametrize("family", [md.Uniform, md.Box])
@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_a_sample_next_to_a_limit_still_moves_with_it(family, word):
    v = numerics.centred_uniform(jnp.asarray([[word]], jnp.uint32))

    def draw(lower, upper):
        return family(lower, upper).forward(v)[0]

    slopes = jax.jit(jax.grad(draw, argnums=(0, 1)))(5.0, 7.0)
    np.testing.assert_allclose(slopes, [1.0, 0.0] if word == 0 else [0.0, 1.0], atol=1e-6)
