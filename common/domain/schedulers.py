"""The diffusion schedulers that a request may name, with all their aliases.

Diffusers identifies schedulers by class. The hosted API accepts these class names, and the sampler
names of the widely used web interface A1111. Sources of the mapping: diffusers' overview of
schedulers (huggingface.co/docs/diffusers/api/schedulers/overview) and the hosted API's page of
A1111 schedulers (docs.modelslab.com).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class SchedulerEntry:
    """A scheduler: a diffusers class, and the settings that distinguish it from its other variants.

    `settings` override the model's own scheduler settings; all other settings keep the values that
    the model was trained with (betas, prediction type, spacing). `aliases` are additional names; if
    several entries have the same class, only one of them has the class name as an alias.
    `most_steps` is the maximum number of steps, or None if unlimited; `evaluations` is the number
    of model evaluations per step.
    """

    name: str
    class_name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    most_steps: int | None = None
    evaluations: int = 1


def find_scheduler(name: str) -> SchedulerEntry | None:
    """Return the scheduler with this name or alias (case-insensitive), or None if there is none."""
    return _BY_NAME.get(_plain(name))


def find_unsupported_reason(name: str) -> str | None:
    """Return the reason why Infill does not support scheduler `name`, or None if it is unknown."""
    return _REASONS.get(_plain(name))


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _spaced(*, karras: bool = False) -> dict[str, Any]:
    """Return a value for every noise-spacing setting, so that none of the model's own remains."""
    return {
        "use_karras_sigmas": karras,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
    }


def _dpm(algorithm: str, *, order: int = 2, karras: bool = False) -> dict[str, Any]:
    return {
        **_spaced(karras=karras),
        "algorithm_type": algorithm,
        "solver_order": order,
        "solver_type": "midpoint",
        "lower_order_final": True,
    }


def _multistep(
    name: str,
    algorithm: str,
    *aliases: str,
    order: int = 2,
    karras: bool = False,
) -> SchedulerEntry:
    settings = {**_dpm(algorithm, order=order, karras=karras), "use_lu_lambdas": False}
    return SchedulerEntry(name, "DPMSolverMultistepScheduler", settings, aliases)


def _singlestep(name: str, algorithm: str, *aliases: str, karras: bool = False) -> SchedulerEntry:
    settings = _dpm(algorithm, karras=karras)
    return SchedulerEntry(name, "DPMSolverSinglestepScheduler", settings, aliases)


_ODE: Final = "dpmsolver++"
_SDE: Final = "sde-dpmsolver++"
# Latent consistency models were distilled with this many steps, and support no more.
_DISTILLED_STEPS: Final = 50

SCHEDULERS: Final[tuple[SchedulerEntry, ...]] = (
    SchedulerEntry("DDIM", "DDIMScheduler", aliases=("DDIMScheduler",)),
    SchedulerEntry("DDPM", "DDPMScheduler", aliases=("DDPMScheduler",)),
    # Without the Runge-Kutta steps it begins with by default: few models support them.
    SchedulerEntry(
        "PNDM", "PNDMScheduler", {"skip_prk_steps": True}, aliases=("PNDMScheduler", "PLMS")
    ),
    SchedulerEntry("Euler", "EulerDiscreteScheduler", _spaced(), ("EulerDiscreteScheduler",)),
    SchedulerEntry(
        "Euler a",
        "EulerAncestralDiscreteScheduler",
        aliases=("EulerAncestralDiscreteScheduler", "Euler ancestral"),
    ),
    SchedulerEntry(
        "Heun", "HeunDiscreteScheduler", _spaced(), ("HeunDiscreteScheduler",), evaluations=2
    ),
    SchedulerEntry(
        "DPM2",
        "KDPM2DiscreteScheduler",
        _spaced(),
        ("KDPM2DiscreteScheduler", "KDPM2"),
        evaluations=2,
    ),
    SchedulerEntry("DPM2 Karras", "KDPM2DiscreteScheduler", _spaced(karras=True), evaluations=2),
    SchedulerEntry(
        "DPM2 a",
        "KDPM2AncestralDiscreteScheduler",
        _spaced(),
        ("KDPM2AncestralDiscreteScheduler", "DPM2 ancestral", "KDPM2 ancestral"),
        evaluations=2,
    ),
    SchedulerEntry(
        "DPM2 a Karras",
        "KDPM2AncestralDiscreteScheduler",
        _spaced(karras=True),
        ("DPM2 ancestral Karras",),
        evaluations=2,
    ),
    _multistep("DPM++ 2M", _ODE, "DPMSolverMultistepScheduler", "DPM++"),
    _multistep("DPM++ 2M Karras", _ODE, "DPM++ Karras", karras=True),
    _multistep("DPM++ 2M SDE", _SDE),
    _multistep("DPM++ 2M SDE Karras", _SDE, karras=True),
    _multistep("DPM++ 3M SDE", _SDE, order=3),
    _multistep("DPM++ 3M SDE Karras", _SDE, order=3, karras=True),
    _singlestep("DPM++ 2S", _ODE, "DPMSolverSinglestepScheduler", "DPM++ singlestep"),
    _singlestep("DPM++ 2S Karras", _ODE, "DPM++ singlestep Karras", karras=True),
    _singlestep("DPM++ SDE", _SDE),
    _singlestep("DPM++ SDE Karras", _SDE, karras=True),
    SchedulerEntry(
        "DEIS",
        "DEISMultistepScheduler",
        {**_spaced(), "algorithm_type": "deis", "solver_order": 2, "solver_type": "logrho"},
        ("DEISMultistepScheduler",),
    ),
    SchedulerEntry(
        "UniPC",
        "UniPCMultistepScheduler",
        {**_spaced(), "solver_order": 2, "solver_type": "bh2"},
        ("UniPCMultistepScheduler",),
    ),
    SchedulerEntry(
        "LCM",
        "LCMScheduler",
        {"original_inference_steps": _DISTILLED_STEPS},
        ("LCMScheduler",),
        most_steps=_DISTILLED_STEPS,
    ),
)
SCHEDULER_NAMES: Final = tuple(entry.name for entry in SCHEDULERS)

_SCIPY: Final = "needs the Python package scipy, which this server does not have"
_ABSENT: Final = "is not available in this service"
_OTHER_KIND: Final = "is for a kind of model that this service does not run"
# Further names that the hosted service or its users know.
UNSUPPORTED: Final[Mapping[str, str]] = {
    "LMS": _SCIPY,
    "LMS Karras": _SCIPY,
    "LMSDiscreteScheduler": _SCIPY,
    "DPMSolverSDEScheduler": "needs the Python package torchsde, which this server does not have",
    "DPM++ 2S a": f"{_ABSENT}; the closest is DPM++ 2S",
    "DPM++ 2S a Karras": f"{_ABSENT}; the closest is DPM++ 2S Karras",
    "DPM fast": _ABSENT,
    "DPM adaptive": _ABSENT,
    "DDIMInverseScheduler": "cannot generate images, because it works in reverse: it turns images "
    "into noise",
    "IPNDMScheduler": _OTHER_KIND,
    "KarrasVeScheduler": _OTHER_KIND,
    "ScoreSdeVeScheduler": _OTHER_KIND,
}

_BY_NAME: Final = {
    _plain(name): entry for entry in SCHEDULERS for name in (entry.name, *entry.aliases)
}
_REASONS: Final = {_plain(name): reason for name, reason in UNSUPPORTED.items()}
