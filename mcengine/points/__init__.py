"""How the uniforms of a run are laid out."""

from mcengine.points.iid import IID as IID
from mcengine.points.protocol import Points as Points
