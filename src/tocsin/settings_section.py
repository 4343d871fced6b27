"""What every section of the settings is made of."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def setting(default: Any, help: str, *, unit: str = "", **bounds: Any) -> Any:
    """Declare a key: its default, its help, its unit and its bounds."""
    return Field(default, description=help, json_schema_extra={"unit": unit} if unit else None, **bounds)


class Section(BaseModel):
    """Keys that stand together; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


def at_home(path: Path) -> Path:
    """Return a path with `~` read as the user's home. Raises ValueError when there is none."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error


def one_of(given: Any, file: Path | None, key: str) -> None:
    """Raise ValueError when a value is given as such and in a file."""
    if given is not None and file is not None:
        raise ValueError(f"{key} and {key}_file are both set; keep one")


Percent = Annotated[float, Field(ge=0, le=100)]
LocalPath = Annotated[Path, AfterValidator(at_home)]
