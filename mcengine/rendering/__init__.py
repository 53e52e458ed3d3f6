"""Light transport: scenes with closed forms, and distributions over directions."""

from mcengine.rendering.directions import CosineHemisphere, TowardsLamp, UniformHemisphere
from mcengine.rendering.plane_light import cosine_and_lamp, lamp_in_sight, plane_light, towards_lamp
from mcengine.rendering.rectangle import Rectangle

__all__ = [
    "CosineHemisphere",
    "Rectangle",
    "TowardsLamp",
    "UniformHemisphere",
    "cosine_and_lamp",
    "lamp_in_sight",
    "plane_light",
    "towards_lamp",
]
