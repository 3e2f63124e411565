"""What S3 refuses, in the errors of stores. No secret is ever part of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelport.errors import (
    StoreAccessError,
    StoreError,
    StoreUnreachableError,
)
from modelport.repository.stores.address import harmless
from modelport.repository.stores.store import Taken

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_ABSENT = {"NoSuchKey", "NoSuchUpload", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"}
_UNKNOWN_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "InvalidClientTokenId",
    "AuthorizationHeaderMalformed",
}
_SETTINGS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a server of your own"
    " AWS_ENDPOINT_URL too"
)


@contextmanager
def explained(url: str, endpoint: str, doing: str, key: str = "") -> Iterator[None]:
    """Turn what boto3 raises into errors of stores.

    Args:
        url: of the store, for people.
        endpoint: that was asked.
        doing: what was asked, as in "could not DOING".
        key: the file that it is about.

    Raises:
        FileNotFoundError: there is no such file in the store.
        Taken: a condition of a write did not hold.
        StoreError: everything else, by what is to be done about it.
    """
    from botocore import exceptions as boto

    place = f"{url}/{key}" if key else url
    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, url, place, doing) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise StoreAccessError(
            f"{url}: no credentials for it were found",
            next_step=_SETTINGS,
            url=url,
        ) from error
    except (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError) as error:
        raise _unreachable(error, place, endpoint, doing) from error
    except boto.BotoCoreError as error:
        raise StoreAccessError(
            f"{url}: the AWS settings of this user do not work ({type(error).__name__})",
            next_step=_SETTINGS + "; look at ~/.aws/config",
            url=url,
        ) from error


def settings_fault(error: Exception, url: str) -> StoreAccessError:
    """Make the error for settings from which no client can be made."""
    return StoreAccessError(
        f"{url}: the AWS settings of this user do not work: {harmless(str(error))}",
        next_step=_SETTINGS + "; look at ~/.aws/config",
        url=url,
    )


def _answered(error: ClientError, url: str, place: str, doing: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code == "NoSuchBucket":
        return StoreError(
            f"{url}: there is no such bucket",
            cause="its name is wrong, or it lies behind another endpoint or account",
            next_step="make it, or name another; AWS_ENDPOINT_URL says which server is asked",
            url=url,
        )
    if code in _ABSENT:
        return FileNotFoundError(place)
    if code in _TAKEN:
        return Taken(place)
    if code in _UNKNOWN_KEY:
        return StoreAccessError(
            f"{url}: the store does not know these credentials ({code})",
            cause="the access key is mistyped, expired, or of another account",
            next_step=_SETTINGS,
            url=url,
        )
    if code in _DENIED:
        return StoreAccessError(
            f"{place}: these credentials may not {doing}",
            cause="reading takes s3:GetObject and s3:ListBucket; pushing takes s3:PutObject,"
            " s3:DeleteObject and s3:ListBucketMultipartUploads too",
            next_step="give them that right, or use others",
            url=url,
        )
    if code == "BadDigest":
        return StoreError(
            f"{place}: what arrived is not what was sent",
            cause="the file changed meanwhile, or the network damaged it",
            next_step="run the same command again",
            url=url,
        )
    if code == "NotImplemented":
        return StoreError(
            f"{place}: the server cannot {doing}: {code}",
            cause="it knows no conditional writes, without which two pushes could mix",
            next_step="use a server that does: AWS, MinIO, SeaweedFS and Ceph do",
            url=url,
        )
    return StoreError(
        f"{place}: could not {doing}: {code or 'unknown error'} (HTTP {status})",
        next_step="run the same command again, which goes on from there",
        url=url,
    )


def _unreachable(error: Exception, place: str, endpoint: str, doing: str) -> StoreUnreachableError:
    kind = type(error).__name__
    causes = {
        "EndpointConnectionError": "nothing listens there, or the name does not resolve",
        "ConnectTimeoutError": "a firewall is in the way, or the address is wrong",
        "SSLError": "the certificate is not one that this machine trusts (AWS_CA_BUNDLE)",
    }
    return StoreUnreachableError(
        f"{place}: could not {doing}: no answer from {endpoint} ({kind})",
        cause=causes.get(kind, "the connection broke"),
        next_step="check AWS_ENDPOINT_URL and the network; run the same command again, which"
        " goes on from there",
        endpoint=endpoint,
    )
