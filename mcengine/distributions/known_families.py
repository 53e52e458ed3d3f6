"""Families of other libraries that mcengine has too, by library and class name."""

import sys
from operator import attrgetter
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from mcengine.distributions.beta import Beta
from mcengine.distributions.categorical import Bernoulli, Categorical
from mcengine.distributions.exponential import Exponential
from mcengine.distributions.extreme_value import Gumbel, Weibull
from mcengine.distributions.foreign import register_converter
from mcengine.distributions.gamma import Gamma
from mcengine.distributions.generalised_pareto import GeneralisedPareto
from mcengine.distributions.lognormal import LogNormal
from mcengine.distributions.mixture import Mixture
from mcengine.distributions.multivariate_normal import MultivariateNormal
from mcengine.distributions.normal import Normal
from mcengine.distributions.poisson import Poisson
from mcengine.distributions.protocol import Distribution, event_struct
from mcengine.distributions.student_t import StudentT
from mcengine.distributions.uniform import Uniform

_LOC_SCALE = {"loc": "loc", "scale": "scale"}
_GAMMA = {"shape": "concentration", "rate": "rate"}
_BETA = {"alpha": "concentration1", "beta": "concentration0"}
_WEIBULL = {"shape": "concentration", "scale": "scale"}
_LIMITS = {"lower": "low", "upper": "high"}
_PROBABILITIES = {"probabilities": "probs", "logits": "logits"}
_PROBABILITY = {"probability": "probs", "logits": "logits"}

# Their class -> our family, and our parameter -> their attribute (or a function of the object). Attributes that are
# None are left out, so that of "probs" and "logits" the one that was given is taken.
_FAMILIES: dict[str, dict[str, tuple[type, dict[str, Any]]]] = {
    "numpyro": {
        "Normal": (Normal, _LOC_SCALE),
        "LogNormal": (LogNormal, _LOC_SCALE),
        "Gumbel": (Gumbel, _LOC_SCALE),
        "StudentT": (StudentT, {"df": "df", **_LOC_SCALE}),
        "Cauchy": (StudentT, {"df": lambda d: 1.0, **_LOC_SCALE}),
        "Uniform": (Uniform, _LIMITS),
        "Exponential": (Exponential, {"rate": "rate"}),
        "Gamma": (Gamma, _GAMMA),
        "Beta": (Beta, _BETA),
        "Weibull": (Weibull, _WEIBULL),
        "Poisson": (Poisson, {"rate": "rate"}),
        "CategoricalProbs": (Categorical, {"probabilities": "probs"}),
        "CategoricalLogits": (Categorical, {"logits": "logits"}),
        "BernoulliProbs": (Bernoulli, {"probability": "probs"}),
        "BernoulliLogits": (Bernoulli, {"logits": "logits"}),
        "MultivariateNormal": (MultivariateNormal, {"loc": "loc", "factor": "scale_tril"}),
    },
    "distrax": {
        "Normal": (Normal, _LOC_SCALE),
        "LogStddevNormal": (Normal, _LOC_SCALE),
        "Gumbel": (Gumbel, _LOC_SCALE),
        "Uniform": (Uniform, _LIMITS),
        "Gamma": (Gamma, _GAMMA),
        "Beta": (Beta, {"alpha": "alpha", "beta": "beta"}),
        "Categorical": (Categorical, {"probabilities": "_probs", "logits": "_logits"}),
        "Bernoulli": (Bernoulli, {"probability": "_probs", "logits": "_logits"}),
        "MultivariateNormalDiag": (Normal, {"loc": "loc", "scale": "scale_diag"}),
        "MultivariateNormalTri": (
            MultivariateNormal,
            {"loc": "loc", "factor": lambda d: jnp.tril(d.scale_tri) if d.is_lower else None},
        ),
        "MultivariateNormalFullCovariance": (MultivariateNormal, {"loc": "loc", "covariance": "covariance_matrix"}),
    },
    "tensorflow_probability": {
        "Normal": (Normal, _LOC_SCALE),
        "LogNormal": (LogNormal, _LOC_SCALE),
        "Gumbel": (Gumbel, _LOC_SCALE),
        "StudentT": (StudentT, {"df": "df", **_LOC_SCALE}),
        "Cauchy": (StudentT, {"df": lambda d: 1.0, **_LOC_SCALE}),
        "Uniform": (Uniform, _LIMITS),
        "Exponential": (Exponential, {"rate": "rate"}),
        "Gamma": (Gamma, _GAMMA),
        "Beta": (Beta, _BETA),
        "Weibull": (Weibull, _WEIBULL),
        "GeneralizedPareto": (GeneralisedPareto, {"shape": "concentration", **_LOC_SCALE}),
        "Poisson": (Poisson, {"rate": "rate"}),
        "Categorical": (Categorical, _PROBABILITIES),
        "Bernoulli": (Bernoulli, _PROBABILITY),
        "MultivariateNormalDiag": (
            Normal,
            {"loc": lambda d: d.parameters["loc"], "scale": lambda d: d.parameters["scale_diag"]},
        ),
        "MultivariateNormalTriL": (
            MultivariateNormal,
            {"loc": lambda d: d.parameters["loc"], "factor": lambda d: d.parameters["scale_tril"]},
        ),
    },
    "flowjax": {
        "Normal": (Normal, _LOC_SCALE),
        "LogNormal": (LogNormal, {"loc": "base_dist.loc", "scale": "base_dist.scale"}),
        "Gumbel": (Gumbel, _LOC_SCALE),
        "StudentT": (StudentT, {"df": "df", **_LOC_SCALE}),
        "Cauchy": (StudentT, {"df": lambda d: 1.0, **_LOC_SCALE}),
        "Uniform": (Uniform, {"lower": "minval", "upper": "maxval"}),
        "Exponential": (Exponential, {"rate": "rate"}),
        "Gamma": (Gamma, {"shape": "base_dist.concentration", "rate": lambda d: 1.0 / d.bijection.scale}),
        "Beta": (Beta, {"alpha": "alpha", "beta": "beta"}),
        "MultivariateNormal": (MultivariateNormal, {"loc": "loc", "covariance": "covariance"}),
    },
}

# How many trailing axes of a parameter belong to one event; leading ones are the other library's batch.
_EVENT_AXES = {
    MultivariateNormal: {"loc": 1, "factor": 2, "covariance": 2},
    Categorical: {"probabilities": 1, "logits": 1},
}


def as_known_family(library: str, obj: Any) -> Distribution | None:
    """The same distribution as one of our families, or None where we do not have it."""
    if not type(obj).__module__.startswith(f"{library}."):  # a user's subclass may have another density
        return None
    name = type(obj).__name__
    if name in ("MixtureSameFamily", "MixtureGeneral"):
        ours = _as_mixture(library, obj)
    else:
        parts = _parts(library, obj)
        ours = None if parts is None else _build(*parts)
    if ours is None:
        return None
    event_shape = obj.shape if library == "flowjax" else obj.event_shape
    return ours if event_struct(ours).shape == tuple(event_shape) else None


def _parts(library: str, obj: Any) -> tuple[type, dict[str, Array]] | None:
    """Our family and its parameters, each with the full batch shape of the object in front; None if unknown."""
    name = type(obj).__name__
    if name in ("Independent", "ExpandedDistribution"):
        inner = next(
            getattr(obj, field) for field in ("base_dist", "distribution", "_distribution") if hasattr(obj, field)
        )
        parts = _parts(library, inner)
        if parts is None or name == "Independent":
            return parts
        return parts[0], _with_batch(parts[0], parts[1], tuple(obj.batch_shape))
    if name not in _FAMILIES[library] or not type(obj).__module__.startswith(f"{library}."):
        return None
    family, sources = _FAMILIES[library][name]
    if library == "flowjax":
        obj = sys.modules[type(obj).__module__].unwrap(obj)  # its parameters are stored transformed
    values = {ours: source(obj) if callable(source) else attrgetter(source)(obj) for ours, source in sources.items()}
    parameters = {ours: jnp.asarray(value) for ours, value in values.items() if value is not None}
    if "logits" in parameters and len(parameters) > 1:
        del parameters["logits"]
    if any(values.get(name, 0.0) is None for name in ("rate", "factor")):
        return None  # given in another form (TFP's log_rate, an upper triangle)
    batch_shape = () if library == "flowjax" else tuple(obj.batch_shape)
    return family, _with_batch(family, parameters, batch_shape)


def _with_batch(family: type, parameters: dict[str, Array], batch_shape: tuple[int, ...]) -> dict[str, Array]:
    axes = _EVENT_AXES.get(family, {})
    if family is Normal:
        # A diagonal multivariate normal: its event axis is one of our coordinates.
        batch_shape = jnp.broadcast_shapes(batch_shape, *(p.shape for p in parameters.values()))
    return {
        name: jnp.broadcast_to(p, batch_shape + p.shape[p.ndim - axes.get(name, 0) :]) if batch_shape else p
        for name, p in parameters.items()
    }


def _build(family: type, parameters: dict[str, Array]) -> Distribution | None:
    if family is MultivariateNormal and any(p.ndim > _EVENT_AXES[family][name] for name, p in parameters.items()):
        return None
    return family(**parameters)


def _as_mixture(library: str, obj: Any) -> Distribution | None:
    mixing = obj.mixing_distribution if library == "numpyro" else obj.mixture_distribution
    parts = _parts(library, mixing)
    if parts is None:
        return None
    weights = jnp.exp(parts[0](**parts[1]).log_probabilities)
    if type(obj).__name__ == "MixtureGeneral":
        components = [as_known_family(library, component) for component in obj.component_distributions]
    else:
        batch = obj.component_distribution if library == "numpyro" else obj.components_distribution
        parts = _parts(library, batch)
        if parts is None or any(p.ndim == 0 or p.shape[0] != weights.shape[0] for p in parts[1].values()):
            return None
        family, parameters = parts
        slices = [{name: p[k] for name, p in parameters.items()} for k in range(weights.shape[0])]
        components = [_build(family, one) for one in slices]
    return None if any(component is None for component in components) else Mixture(components, weights)


register_converter(as_known_family)
