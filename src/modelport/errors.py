"""Every error that Modelport raises on purpose, in one tree.

Each leaf asks for a different action of the caller and owns the exit code that
the ``modelport`` command ends with::

    ModelportError                    1
    ├── MissingExtraError             3   install an extra
    ├── BuildError                   10
    │   ├── BuilderError             11   mend the builder file
    │   ├── DataError                12   mend or fetch the data source
    │   ├── ExportError              13   the network cannot become ONNX
    │   ├── GateError                14   the model is not good enough
    │   │   └── ParityError          15   the answers differ from the reference
    │   └── AcceleratorError         16   run it on a machine with a GPU and TensorRT
    ├── RepositoryError              20
    │   ├── ConfigError              21   mend config.pbtxt
    │   ├── IntegrityError           22   a published file is not what was proven
    │   ├── PublishError             23   the disk or another publisher is in the way
    │   ├── PromotionError           24   the version must not serve as things are
    │   ├── SigningKeyError          26   give another key, or its passphrase
    │   ├── StoreError               27   the store lacks what is asked for, or fails
    │   │   ├── StoreUnreachableError 28   nobody answers there
    │   │   ├── StoreAccessError     29   give credentials, or the right to do it
    │   │   └── StoreConflictError   25   it holds something else: pull, or publish a new version
    │   └── UnhealthyRepositoryError  1   `modelport doctor` found something wrong
    ├── RuntimeFault                 30
    │   ├── ToolchainError           31   tritonserver or its environment is missing
    │   ├── PortInUseError           32   choose another port
    │   ├── ServerStartError         33   tritonserver ended or never became ready
    │   └── LoadError                34   one or more models did not load
    ├── LoadTestError                70
    │   ├── ProfileError             71   mend the load profile, or the objective
    │   ├── ResultError              72   give a file that is a result, or one that can be compared
    │   ├── ObjectiveError           73   the model does not do what was asked of it
    │   └── RegressionError          74   the one is slower than the other, past the bound
    ├── InterfaceError               60
    │   ├── StaleFilesError          61   generate them anew and commit them
    │   └── BreakingChangeError      62   clients of the old version fail on the new one
    └── ClientError                  40
        ├── InvalidInputError        41   mend the tensors
        ├── ServerUnreachableError   42
        │   ├── ServerRefusedError   42   nothing listens there
        │   ├── ResolveError         42   no such host
        │   └── TLSError             42   mend certificates, or the trust in them
        ├── ModelNotFoundError       43   no such model or version
        ├── NotReadyError            44   server or model still starts
        ├── InterfaceMismatchError   53   the model is not the one that a wrapper was made for
        ├── OverloadedError          45   queue full: try again later
        ├── DeadlineExceededError    46   took longer than the caller allowed
        ├── ServerFaultError         47   the model failed on a valid request
        ├── ProtocolError            48   the peer does not speak the V2 protocol
        ├── ConnectionLostError      49   the server went away during the call
        ├── UnauthorizedError        50   a restricted API without its header, or without the right
        │   └── UnauthenticatedError 50   log in: no credentials, or they are no longer valid
        ├── CallCancelledError       51   the caller itself ended the call
        └── PartialBatchError        52   some rows of a split batch have no answer

A message has three parts: what happened (with the value seen and where), the
likely cause, and the next command to try. The objects it speaks of are kept as
attributes, so that callers need not parse text.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast


class ModelportError(Exception):
    """Root of the tree.

    Args:
        what: what happened, with the value seen and where (file, tensor, field).
        cause: the likely cause, when it is not plain from ``what``.
        next_step: the next command or action to try.
        **objects: the model, version, tensor, file … that it is about; each
            becomes an entry of :attr:`objects`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        cause: str | None = None,
        next_step: str | None = None,
        **objects: object,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.next_step = next_step
        self.objects = objects

    def __str__(self) -> str:
        lines = [self.what]
        if self.cause:
            lines.append(f"likely cause: {self.cause}")
        if self.next_step:
            lines.append(f"next: {self.next_step}")
        return "\n".join(lines)


class MissingExtraError(ModelportError):
    """A command needs packages that the base install does not bring."""

    exit_code = 3


class BuildError(ModelportError):
    """A model could not be built."""

    exit_code = 10


class BuilderError(BuildError):
    """The builder file is wrong: missing or unknown field, network that does not fit its spec."""

    exit_code = 11


class DataError(BuildError):
    """A data source is missing, unreachable, or not the file that was pinned."""

    exit_code = 12


class ExportError(BuildError):
    """The network could not be exported to ONNX."""

    exit_code = 13


class GateError(BuildError):
    """A figure of the model is outside the bound that its builder sets."""

    exit_code = 14


class ParityError(GateError):
    """Answers differ from the reference by more than the model's tolerance."""

    exit_code = 15


class AcceleratorError(BuildError):
    """There is no GPU or no TensorRT here; the message has the command to run where they are."""

    exit_code = 16


class RepositoryError(ModelportError):
    """The model repository is missing something or cannot be read."""

    exit_code = 20


class ConfigError(RepositoryError):
    """A config.pbtxt does not parse, or holds hand edits that would be lost."""

    exit_code = 21


class IntegrityError(RepositoryError):
    """A published file is missing, truncated, or differs from its manifest."""

    exit_code = 22


class PublishError(RepositoryError):
    """A version could not be published; the repository is as it was."""

    exit_code = 23


class PromotionError(RepositoryError):
    """A version may not serve: worse than what serves, or not what was proven."""

    exit_code = 24


class SigningKeyError(RepositoryError):
    """A key is missing, cannot be read, or is not of the kind that is asked for."""

    exit_code = 26


class StoreError(RepositoryError):
    """A store of versions lacks what is asked for, or did not do what was asked."""

    exit_code = 27


class StoreUnreachableError(StoreError):
    """Nobody answers at a store's address, or the connection broke again and again."""

    exit_code = 28


class StoreAccessError(StoreError):
    """A store wants credentials, or does not allow these to do what was asked."""

    exit_code = 29


class StoreConflictError(StoreError):
    """A store and a repository hold different things under one name; nothing was overwritten."""

    exit_code = 25


class UnhealthyRepositoryError(RepositoryError):
    """``modelport doctor`` found something wrong; :attr:`objects` holds ``findings``."""

    exit_code = 1


class RuntimeFault(ModelportError):
    """tritonserver could not be found, started, or kept running."""

    exit_code = 30


class ToolchainError(RuntimeFault):
    """tritonserver or its Python environment is missing, broken, or not what was pinned."""

    exit_code = 31


class PortInUseError(RuntimeFault):
    """Another process listens on a port that was asked for."""

    exit_code = 32


class ServerStartError(RuntimeFault):
    """tritonserver ended, or never became ready."""

    exit_code = 33


class LoadError(RuntimeFault):
    """One or more models did not load; :attr:`objects` holds ``failures`` (model to reason)."""

    exit_code = 34


class LoadTestError(ModelportError):
    """A load test could not be run, or its outcome is bad."""

    exit_code = 70


class ProfileError(LoadTestError):
    """A load profile, or an objective in it, is wrong or cannot be carried out."""

    exit_code = 71


class ResultError(LoadTestError):
    """A file holds no result of a load test, or none that can be compared."""

    exit_code = 72


class ObjectiveError(LoadTestError):
    """A load test did not pass: an objective is not met, or a reply is wrong or missing.

    :attr:`objects` holds ``reasons``.
    """

    exit_code = 73


class RegressionError(LoadTestError):
    """Beyond doubt worse than what it is compared with, by more than the bound.

    :attr:`objects` holds ``regressions``.
    """

    exit_code = 74


class InterfaceError(ModelportError):
    """What callers rely on cannot be told, or nothing can be generated from it."""

    exit_code = 60


class StaleFilesError(InterfaceError):
    """Generated files differ from what would be generated now."""

    exit_code = 61


class BreakingChangeError(InterfaceError):
    """A change of an interface breaks those who call the model as it was."""

    exit_code = 62


class ClientError(ModelportError):
    """A call to a server failed.

    :attr:`objects` carries what is known of ``endpoint``, ``model``,
    ``version``, ``request_id``, ``attempts`` and ``status``.
    """

    exit_code = 40


class InvalidInputError(ClientError):
    """A tensor is missing, unknown, or has the wrong dtype or shape."""

    exit_code = 41


class ServerUnreachableError(ClientError):
    """No connection to the server."""

    exit_code = 42


class ServerRefusedError(ServerUnreachableError):
    """The host answers, but nothing listens on that port."""


class ResolveError(ServerUnreachableError):
    """The host name does not resolve."""


class TLSError(ServerUnreachableError):
    """No encrypted connection: a certificate is not trusted, expired or of another host."""


class ModelNotFoundError(ClientError):
    """The server has no model, or no version of it, by that name."""

    exit_code = 43


class NotReadyError(ClientError):
    """The server or the model is known but not ready."""

    exit_code = 44


class InterfaceMismatchError(ClientError):
    """The model that serves has other tensors than those that a wrapper was generated for."""

    exit_code = 53


class OverloadedError(ClientError):
    """The server refused the request because its queue is full."""

    exit_code = 45


class DeadlineExceededError(ClientError):
    """No answer within the time that the caller allowed."""

    exit_code = 46


class ServerFaultError(ClientError):
    """The model failed on a request that the server accepted."""

    exit_code = 47


class ProtocolError(ClientError):
    """The answer is not one of the Open Inference Protocol (V2)."""

    exit_code = 48


class ConnectionLostError(ClientError):
    """The connection broke after the request was sent; it may have been executed."""

    exit_code = 49


class UnauthorizedError(ClientError):
    """The endpoint is restricted: the request lacks its header, or the right to do this."""

    exit_code = 50


class UnauthenticatedError(UnauthorizedError):
    """The endpoint does not know who asks: no credentials, or they are no longer valid."""


class CallCancelledError(ClientError):
    """The caller ended the call before its answer was there; it may have been executed."""

    exit_code = 51


class PartialBatchError(ClientError):
    """A batch was sent in parts, and some of its rows have no answer.

    :attr:`objects` holds what the two properties give, too.
    """

    exit_code = 52

    @property
    def failures(self) -> list[tuple[int, int, ClientError]]:
        """First row, row after the last, and error, of each part without an answer."""
        return cast("list[tuple[int, int, ClientError]]", self.objects["failures"])

    @property
    def results(self) -> list[tuple[int, int, Any]]:
        """First row, row after the last, and result, of every part; ``None`` for the failed."""
        return cast("list[tuple[int, int, Any]]", self.objects["results"])
