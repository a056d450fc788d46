"""Where a voice is published: the forms of a place, and the store that each opens.

http://NODE  https://NODE                a node, which is `client.NodeClient`'s business
DIRECTORY                                a directory, made if it is not there
s3://BUCKET/PREFIX  gs://…  az://…       a cloud; credentials as its own tools take them
hf://USER/REPO                           a model repository of the Hugging Face Hub
"""

from pathlib import Path

from orpheus_clone.errors import RecipeError
from orpheus_clone.store.directory import DirectoryObjects
from orpheus_clone.store.store import Store

CLOUDS = ("s3://", "gs://", "az://")
HUB = "hf://"


def is_node(place: str) -> bool:
    """Whether a place is a node's URL."""
    return place.startswith(("http://", "https://"))


def open_store(place: str | Path) -> Store:
    """The store at a place; RecipeError where none could be."""
    name = str(place)
    if name.startswith(CLOUDS):
        from orpheus_clone.store.cloud import CloudObjects

        return Store(CloudObjects.at(name))
    if name.startswith(HUB):
        from orpheus_clone.store.hub import HubObjects

        return Store(HubObjects.at(name))
    if ":" in name.partition("/")[0]:
        raise RecipeError(
            f"{name}: is no place for voices; write http://NODE or https://NODE, s3://, gs://, "
            f"az:// or hf:// and what follows, or ./{name} if it is a directory"
        )
    return Store(DirectoryObjects(Path(name).expanduser()))
