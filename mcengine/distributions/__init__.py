"""Distributions that can be sampled and whose densities are known; `sample` and `log_prob` are tested together."""

from mcengine.distributions.affine import Affine as Affine
from mcengine.distributions.beta import Beta as Beta
from mcengine.distributions.box import Box as Box
from mcengine.distributions.categorical import Bernoulli as Bernoulli
from mcengine.distributions.categorical import Categorical as Categorical
from mcengine.distributions.exponential import Exponential as Exponential
from mcengine.distributions.extreme_value import Gumbel as Gumbel
from mcengine.distributions.extreme_value import Weibull as Weibull
from mcengine.distributions.foreign import as_distribution as as_distribution
from mcengine.distributions.gamma import Gamma as Gamma
from mcengine.distributions.generalised_pareto import GeneralisedPareto as GeneralisedPareto
from mcengine.distributions.information import entropy as entropy
from mcengine.distributions.information import kl_divergence as kl_divergence
from mcengine.distributions.information import self_information as self_information
from mcengine.distributions.known_families import as_known_family as as_known_family
from mcengine.distributions.lognormal import LogNormal as LogNormal
from mcengine.distributions.mixture import Labelled as Labelled
from mcengine.distributions.mixture import Mixture as Mixture
from mcengine.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from mcengine.distributions.normal import Normal as Normal
from mcengine.distributions.poisson import Poisson as Poisson
from mcengine.distributions.product import Product as Product
from mcengine.distributions.protocol import Distribution as Distribution
from mcengine.distributions.protocol import Transport as Transport
from mcengine.distributions.protocol import event_struct as event_struct
from mcengine.distributions.protocol import is_transport as is_transport
from mcengine.distributions.protocol import prefers_sample_many as prefers_sample_many
from mcengine.distributions.protocol import sample_many as sample_many
from mcengine.distributions.pushforward import Pushforward as Pushforward
from mcengine.distributions.student_t import StudentT as StudentT
from mcengine.distributions.truncated import Truncated as Truncated
from mcengine.distributions.uniform import Uniform as Uniform

__all__ = [  # so that `import *` takes no submodule along
    "Affine",
    "Bernoulli",
    "Beta",
    "Box",
    "Categorical",
    "Distribution",
    "Exponential",
    "Gamma",
    "GeneralisedPareto",
    "Gumbel",
    "LogNormal",
    "Mixture",
    "MultivariateNormal",
    "Normal",
    "Poisson",
    "Product",
    "Pushforward",
    "StudentT",
    "Transport",
    "Truncated",
    "Uniform",
    "Weibull",
    "as_distribution",
    "entropy",
    "event_struct",
    "is_transport",
    "kl_divergence",
    "prefers_sample_many",
    "sample_many",
    "self_information",
]
