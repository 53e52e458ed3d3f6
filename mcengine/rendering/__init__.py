"""Light transport: a scene with a closed form, and distributions over directions."""

from mcengine.numerics.deprecation import deprecated_names
from mcengine.rendering.directions import CosineHemisphere, TowardsLamp, UniformHemisphere
from mcengine.rendering.plane_light import cosine_and_lamp, light_visibility, plane_light, towards_lamp
from mcengine.rendering.rectangle import Rectangle

__all__ = [
    "CosineHemisphere",
    "Rectangle",
    "TowardsLamp",
    "UniformHemisphere",
    "cosine_and_lamp",
    "light_visibility",
    "plane_light",
    "towards_lamp",
]

__getattr__ = deprecated_names(__name__, {"lamp_in_sight": "light_visibility"})
