"""Small problems with exact values, one for each topic: a tail, weights, a failure, the distance of two policies."""

from mcengine.teaching.bumped_mean import bumped_mean
from mcengine.teaching.far_apart import between, far_apart, predicted_variance
from mcengine.teaching.fish_pond import FishCount, Middle, Shore, fish_pond, unweighted_mean, where_the_fish_are
from mcengine.teaching.gaussian_policies import halfway, policy_entropy, policy_kl, policy_mean
from mcengine.teaching.gaussian_tail import best_tilt, defensive, gaussian_tail, shifted, tilted, wider
from mcengine.teaching.normal_loss import LossBeyond, beyond_quantile, loss_beyond, normal_loss

__all__ = [
    "FishCount", "LossBeyond", "Middle", "Shore", "best_tilt", "between", "beyond_quantile", "bumped_mean",
    "defensive", "far_apart", "fish_pond", "gaussian_tail", "halfway", "loss_beyond", "normal_loss", "policy_entropy",
    "policy_kl", "policy_mean", "predicted_variance", "shifted", "tilted", "unweighted_mean", "where_the_fish_are",
    "wider",
]  # fmt: skip
