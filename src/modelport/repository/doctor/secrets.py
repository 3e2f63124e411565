"""Secrets in config.pbtxt: whoever may ask a server for a model's configuration reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject

# The published forms of tokens and keys.
_FORMS = {
    "an AWS access key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an OpenAI key": r"\bsk-[A-Za-z0-9_-]{32,}",
    "a Google API key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": r"://[^\s/:@]+:[^\s/@${}]+@",
}
# Names of parameters, in lower case and with - as _, that hold a secret by their meaning.
_NAMES = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|secret_key|api_?key|access_key|private_key"
    r"|auth_token|access_token|api_token|bearer_token|hf_token|credentials?)$"
)
# What stands for a secret that is elsewhere.
_ELSEWHERE = re.compile(
    r"^$|^[<${%]|^/|^(none|null|true|false|changeme|x+|\*+|your.*)$", re.IGNORECASE
)


def secret_parameter(subject: Subject) -> Iterator[Problem]:
    """A parameter holds what nobody else should know."""
    for key, value in sorted(subject.config.parameters.items()):
        form = next((name for name, form in _FORMS.items() if re.search(form, value)), None)
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|-|\.", "_", key).lower()
        by_name = _NAMES.search(name) and not _ELSEWHERE.match(value)
        if form or by_name:
            yield Problem(
                field=f"parameters.{key}",
                expected="no secret",
                got=form or f"{len(value)} characters under a name that means a secret",
                fix="let the model read it from its environment or a file, and change it now",
                severity="error" if form else None,
            )
