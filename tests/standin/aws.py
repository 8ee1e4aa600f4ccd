"""AWS for the tests: moto's real HTTP server, made as slow, strict and faulty as AWS is.

Reached by unmodified boto3 over HTTP through AWS_ENDPOINT_URL, from this process or any other.

What it proves: that our calls are well formed and in an order that works; that they converge when
cut off anywhere; that a cluster's slowness, refusals, throttling, expired tokens and denied actions
are met as they should be; that the policies in docs/iam name every action that is used, and that
the role of COPY may read what it is asked to read, and nothing else that a test asks for.

What it doesn't: whether AWS itself accepts them. Policies are compared by name and resource, not
evaluated by AWS; networks are not there, so nobody tries the port; prices, quotas, capacity and the
minutes that things take are invented; and so are the words of an error wherever AWS does not
document them.
"""

from __future__ import annotations

import io
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import cache
from unittest import mock
from urllib.parse import parse_qs, parse_qsl, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

import boto3
import moto.core.responses
from botocore.config import Config
from moto.core.responses import ActionResult
from moto.core.utils import method_names_from_class
from moto.ec2.models import ec2_backends
from moto.iam.access_control import PermissionResult
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.redshift.exceptions import ClusterNotFoundError
from moto.redshift.models import Cluster, RedshiftBackend, redshift_backends
from moto.redshift.responses import RedshiftResponse
from moto.s3.models import FakeBucket, s3_backends
from werkzeug.serving import make_server

from . import policy, scheduler

ACCOUNT = "123456789012"
USER = f"arn:aws:iam::{ACCOUNT}:user/analyst"
KEYS = {
    "AWS_ACCESS_KEY_ID": "ASIASTANDINSTANDIN00",
    "AWS_SECRET_ACCESS_KEY": "standin/secret+0123456789abcdefghijklmno",
    "AWS_SESSION_TOKEN": "standin-session-token-0123456789",
}
NODE_TYPES = ["ra3.large", "ra3.xlplus", "ra3.4xlarge", "rg.large"]
READS = ("Describe", "Get", "List", "Head")
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/sparkify-dwh-boundary"

# S3 has no action in a request: its method, what it is about, and its first telling parameter.
S3 = {
    ("PUT", "bucket", ""): "CreateBucket",
    ("DELETE", "bucket", ""): "DeleteBucket",
    ("HEAD", "bucket", ""): "HeadBucket",
    ("GET", "bucket", ""): "ListObjectsV2",
    ("GET", "bucket", "versions"): "ListObjectVersions",
    ("GET", "bucket", "location"): "GetBucketLocation",
    ("GET", "bucket", "tagging"): "GetBucketTagging",
    ("GET", "bucket", "publicAccessBlock"): "GetPublicAccessBlock",
    ("PUT", "bucket", "publicAccessBlock"): "PutPublicAccessBlock",
    ("GET", "bucket", "policy"): "GetBucketPolicy",
    ("PUT", "bucket", "policy"): "PutBucketPolicy",
    ("GET", "bucket", "lifecycle"): "GetBucketLifecycleConfiguration",
    ("PUT", "bucket", "lifecycle"): "PutBucketLifecycleConfiguration",
    ("POST", "bucket", "delete"): "DeleteObjects",
    ("GET", "key", ""): "GetObject",
    ("HEAD", "key", ""): "HeadObject",
    ("PUT", "key", ""): "PutObject",
    ("DELETE", "key", ""): "DeleteObject",
    ("POST", "key", "uploads"): "CreateMultipartUpload",
    ("PUT", "key", "uploadId"): "UploadPart",
    ("POST", "key", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "key", "uploadId"): "AbortMultipartUpload",
}
TELLING = {telling for _, _, telling in S3 if telling}

# What IAM calls an operation of the API, where that is not its name.
PERMISSIONS = {
    "s3:CreateBucket": ["s3:CreateBucket", "s3:TagResource"],
    "s3:HeadBucket": ["s3:ListBucket"],
    "s3:ListObjectsV2": ["s3:ListBucket"],
    "s3:ListObjectVersions": ["s3:ListBucketVersions"],
    "s3:GetPublicAccessBlock": ["s3:GetBucketPublicAccessBlock"],
    "s3:PutPublicAccessBlock": ["s3:PutBucketPublicAccessBlock"],
    "s3:GetBucketLifecycleConfiguration": ["s3:GetLifecycleConfiguration"],
    "s3:PutBucketLifecycleConfiguration": ["s3:PutLifecycleConfiguration"],
    "s3:DeleteObjects": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
    "s3:HeadObject": ["s3:GetObject"],
    "s3:CreateMultipartUpload": ["s3:PutObject"],
    "s3:UploadPart": ["s3:PutObject"],
    "s3:CompleteMultipartUpload": ["s3:PutObject"],
    "s3:AbortMultipartUpload": ["s3:AbortMultipartUpload"],
    "ec2:CreateSecurityGroup": ["ec2:CreateSecurityGroup", "ec2:CreateTags"],
    "iam:CreateRole": ["iam:CreateRole", "iam:TagRole"],
    "redshift:CreateCluster": [
        "redshift:CreateCluster",
        "redshift:CreateTags",
        "iam:PassRole",
        "secretsmanager:CreateSecret",
        "secretsmanager:TagResource",
    ],
    "redshift:CreateScheduledAction": ["redshift:CreateScheduledAction", "iam:PassRole"],
    "redshift:ModifyScheduledAction": ["redshift:ModifyScheduledAction", "iam:PassRole"],
    "redshift:ModifyClusterIamRoles": ["redshift:ModifyClusterIamRoles", "iam:PassRole"],
    "redshift:CreateClusterParameterGroup": [
        "redshift:CreateClusterParameterGroup",
        "redshift:CreateTags",
    ],
    "redshift:CreateClusterSubnetGroup": [
        "redshift:CreateClusterSubnetGroup",
        "redshift:CreateTags",
    ],
    "sts:GetCallerIdentity": [],  # needs no permission
}


def permissions(call: str) -> list[str]:
    """Return the IAM actions that a call needs."""
    return PERMISSIONS.get(call, [call])


def is_write(call: str) -> bool:
    """Whether a call may change something."""
    return not call.split(":")[1].startswith(READS)


class Refusal(Exception):
    """An error that AWS gives: its HTTP status, code and message."""

    def __init__(self, code: str, message: str, status: int = 400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status

    def answer(self, service: str) -> tuple[int, str, bytes]:
        """Return status, content type and body in the service's own form."""
        code, message = escape(self.code), escape(self.message)
        if service == "pricing":
            body = json.dumps({"__type": self.code, "message": self.message})
            return self.status, "application/x-amz-json-1.1", body.encode()
        inner = f"<Code>{code}</Code><Message>{message}</Message>"
        whole = {
            "ec2": f"<Response><Errors><Error>{inner}</Error></Errors></Response>",
            "s3": f"<Error>{inner}</Error>",
        }.get(service, f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error></ErrorResponse>")
        return self.status, "text/xml", whole.encode()


class Request:
    """One call as it came in: its service, action, parameters, region."""

    def __init__(self, environ: dict):
        self.environ = environ
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", self._header("AUTHORIZATION"))
        self.region, self.service = scope.groups() if scope else ("us-east-1", "s3")
        self.parameters: dict[str, str] = {}
        target = self._header("X_AMZ_TARGET")
        if target:
            self.action = target.split(".")[-1]
        elif self.service == "s3":
            self.action = self._s3_action()
        else:
            self.parameters = dict(parse_qsl(self.body().decode()))
            self.action = self.parameters.get("Action", "Unknown")
        self.call = f"{self.service}:{self.action}"
        self.expected_owner = self._header("X_AMZ_EXPECTED_BUCKET_OWNER")

    def _header(self, name: str) -> str:
        return self.environ.get(f"HTTP_{name}", "")

    def body(self) -> bytes:
        """Return the body, and leave it to be read again."""
        length = int(self.environ.get("CONTENT_LENGTH") or 0)
        data = self.environ["wsgi.input"].read(length)
        self.environ["wsgi.input"] = io.BytesIO(data)
        return data

    def _s3_action(self) -> str:
        bucket, _, key = unquote(self.environ["PATH_INFO"]).lstrip("/").partition("/")
        level = "key" if key else "bucket" if bucket else "service"
        self.parameters = {"Bucket": bucket, "Key": key}
        asked = parse_qs(self.environ.get("QUERY_STRING", ""), keep_blank_values=True)
        telling = next((name for name in asked if name in TELLING), "")
        method = self.environ["REQUEST_METHOD"]
        return S3.get((method, level, telling), f"Unknown{method}{level}{telling}")

    def starting(self, prefix: str) -> list[str]:
        """Return the values of a parameter that is a list."""
        return [value for key, value in self.parameters.items() if key.startswith(prefix + ".")]


class Aws:
    """The double. `with Aws() as aws:` starts it, one at a time in a process: it changes moto;
    every attribute can be changed while it runs."""

    def __init__(self):
        self.endpoint: tuple[str, int] | None = None  # where describe_clusters says a cluster is
        self._forget()

    def _forget(self) -> None:
        self.creating, self.deleting, self.changing = 2, 2, 1  # looks until that is over
        self.price: float | None = 0.543  # per node and hour; None: the price list is denied
        self.account_from: tuple[int, str] | None = None  # from that call on, another account
        self.caller = "user/analyst"  # whose credentials these are
        self.calls: list[str] = []
        self.issued: dict[str, tuple[str, str]] = {}  # password: user, database
        self.throttled: Counter[str] = Counter()  # call: how many more times
        self.denied: set[str] = set()
        self.holds: list[dict] | None = None  # statements: all that the caller may do
        self.boundaries = {BOUNDARY}  # the policies that an administrator has made
        self.owners: dict[str, str] = {}  # bucket: another account that it belongs to
        self.unguarded: list[tuple[str, str]] = []  # call and bucket, without an expected owner
        self.expired_from = 0  # the number of the call, from 1, at which the token has expired
        self.fail_after = 0  # the call that is carried out and answered with a 500
        self.looks: dict[str, int] = {}

    def __enter__(self) -> Aws:
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._session, self._clients = boto3.Session(*KEYS.values()), {}
        for owner, name, new in self._patches():
            self._stack.enter_context(mock.patch.object(owner, name, new, create=True))
        self._moto = cache(create_backend_app)
        server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Silent)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        self.reset()
        return self

    def __exit__(self, *_) -> None:
        self.reset()
        self._stack.close()

    def reset(self) -> None:
        """Forget everything but the endpoint and what an account has from the start."""
        self._forget()
        redshift_backends[ACCOUNT].reset()
        s3_backends[ACCOUNT].reset()
        s3_backends.bucket_accounts.clear()
        for backend in iam_backends[ACCOUNT].values():
            backend.roles.clear()
        for backend in ec2_backends[ACCOUNT].values():
            for groups in backend.groups.values():
                for key in [key for key, group in groups.items() if group.name != "default"]:
                    del groups[key]

    def inventory(self) -> dict[tuple[str, str], str]:
        """Return all that there is and all that is known of it, read from moto's own memory."""
        found: dict[tuple[str, str], object] = {}
        for backend in redshift_backends[ACCOUNT].values():
            for name, one in backend.clusters.items():
                hidden = ("redshift_backend", "logging_details")
                about = {key: value for key, value in vars(one).items() if key not in hidden}
                found["cluster", name] = about
            for kind, groups in (
                ("parameter group", backend.parameter_groups),
                ("subnet group", backend.subnet_groups),
            ):
                found |= {(kind, k): vars(v) for k, v in groups.items() if "default." not in k}
            found |= {("schedule", k): v for k, v in scheduler.actions_of(backend).items()}
        for backend in ec2_backends[ACCOUNT].values():
            for group in (group for groups in backend.groups.values() for group in groups.values()):
                rules = [vars(rule) for rule in [*group.ingress_rules, *group.egress_rules]]
                if group.name != "default":
                    found["security group", group.name] = (group.id, group.get_tags(), rules)
        for role in iam_backends[ACCOUNT]["aws"].roles.values():
            found["role", role.name] = vars(role)
        s3 = s3_backends[ACCOUNT]["aws"]
        for name, bucket in s3.buckets.items():
            keys = {key: value.etag for key, value in bucket.keys.items()}
            tags = s3.tagger.get_tag_dict_for_resource(bucket.arn)
            block = bucket.public_access_block and vars(bucket.public_access_block)
            found["bucket", name] = (tags, bucket.policy, block, keys)
        return {key: repr(value) for key, value in found.items()}

    def keep(self) -> Callable[[], None]:
        """Return what brings back everything as it is now, after it was deleted."""
        s3 = s3_backends[ACCOUNT]["aws"]
        copies = [dict(store) for store in stores()]
        policies = [(role, dict(role.policies)) for role in stores()[0].values()]
        tags = {
            name: s3.tagger.get_tag_dict_for_resource(one.arn) for name, one in s3.buckets.items()
        }

        def restore() -> None:
            self._forget()
            for store, copy in zip(stores(), copies, strict=True):
                store.clear()
                store.update(copy)
            for role, kept in policies:
                role.policies.clear()
                role.policies.update(kept)
            for cluster in redshift_backends[ACCOUNT]["us-west-2"].clusters.values():
                cluster.status = "available"
                vars(cluster).pop("how", None)
            for name, own in tags.items():
                s3_backends[ACCOUNT]["aws"].put_bucket_tagging(name, own)

        return restore

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which boto3 reaches this, and nothing else."""
        return KEYS | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    @property
    def secrets(self) -> set[str]:
        """Every secret that was in play: keys, and all temporary passwords."""
        return set(KEYS.values()) | set(self.issued)

    def pass_time(self, now: datetime) -> None:
        """Let AWS do what is scheduled up to `now`."""
        scheduler.carry_out(ACCOUNT, now)

    def client(self, service: str, region: str = "us-west-2"):
        """Return a client of a service of this double; what it does is counted as all is."""
        if (service, region) not in self._clients:
            about = {"endpoint_url": self.url, "config": Config(retries={"max_attempts": 0})}
            self._clients[service, region] = self._session.client(service, region, **about)
        return self._clients[service, region]

    def authorise(self, user: str, database: str, password: str) -> bool:
        """Whether a temporary password was issued for the user and the database."""
        return self.issued.get(password) == (user, database)

    def readable(self, role_arn: str, bucket: str, key: str, action: str = "s3:GetObject") -> str:
        """Return '' when the role may do `action` on an object, or list below a prefix, else why
        not."""
        found = [r for r in iam_backends[ACCOUNT]["aws"].roles.values() if r.arn == role_arn]
        if not found or "redshift.amazonaws.com" not in found[0].assume_role_policy_document:
            return f"Redshift may not assume {role_arn}."
        (role,) = found
        about_bucket = action in ("s3:ListBucket", "s3:GetBucketLocation")
        resource = f"arn:aws:s3:::{bucket}" + ("" if about_bucket else f"/{key}")
        boundary = policy.statements("boundary") if role.permissions_boundary_arn else None
        if boundary is not None and not policy.permits(boundary, action, resource, {}):
            return f"User: {role_arn} is not authorized to perform: {action} (its boundary)"
        documents = role.policies.values()
        own = [one for document in documents for one in json.loads(document)["Statement"]]
        if policy.permits(own, action, resource, {"s3:prefix": key}):
            return ""
        return f"User: {role_arn} is not authorized to perform: {action} on resource: {resource}"

    def __call__(self, environ: dict, start_response: Callable):
        """Answer one request: WSGI."""
        request = Request(environ)
        with self._lock:
            self.calls.append(request.call)
            number = len(self.calls)
        try:
            self._refuse(request, number)
            status, headers, body = self._carry_out(request)
        except Refusal as refusal:
            code, kind, body = refusal.answer(request.service)
            status, headers = f"{code} {refusal.code}", [("Content-Type", kind)]
        if number == self.fail_after:
            refusal = Refusal("InternalFailure", "An internal error has occurred.", 500)
            _, kind, body = refusal.answer(request.service)
            status, headers = "500 Internal", [("Content-Type", kind)]
        start_response(status, headers)
        return [body]

    def _refuse(self, request: Request, number: int) -> None:
        """Raise the refusal that was asked for, or that AWS would give and moto doesn't."""
        ec2, s3 = request.service == "ec2", request.service == "s3"
        if self.expired_from and number >= self.expired_from:
            words = "The security token included in the request is expired"
            raise Refusal("RequestExpired" if ec2 else "ExpiredToken", words, 403)
        if self.throttled[request.call] > 0:
            self.throttled[request.call] -= 1
            code = "RequestLimitExceeded" if ec2 else "SlowDown" if s3 else "Throttling"
            raise Refusal(code, "Rate exceeded", 503 if ec2 or s3 else 400)
        if s3 and request.parameters["Bucket"]:
            self._refuse_other_owner(request)
        for permission in permissions(request.call):
            if permission in self.denied or not self._holds(permission, request):
                raise denied(request, permission)
        backend = redshift_backends[ACCOUNT][request.region]
        if request.call == "ec2:DeleteSecurityGroup":
            self._refuse_used_group(request, backend)
        if code := self._find_mistake(request, backend):
            raise Refusal(code, "It can't be done now.")
        if refusal := scheduler.find_refusal(request.action, request.parameters, backend):
            raise Refusal(*refusal)

    def _holds(self, permission: str, request: Request) -> bool:
        """Whether the caller's policy has an action: for roles and credentials also on that
        resource and under those conditions."""
        if self.holds is None:
            return True
        asked, arns, told = request.parameters, [None], None
        if permission == "redshift:GetClusterCredentials":
            here = f"arn:aws:redshift:{request.region}:{ACCOUNT}"
            names = {"dbuser": asked["DbUser"], "dbname": asked["DbName"]}
            arns = [f"{here}:{key}:{asked['ClusterIdentifier']}/{names[key]}" for key in names]
        elif permission == "iam:PassRole":
            arns = [*request.starting("IamRoles.IamRoleArn")]
            arns += request.starting("AddIamRoles.IamRoleArn")
            told = {"iam:PassedToService": "redshift.amazonaws.com"}
        elif request.service == "iam" and "RoleName" in asked:
            arn, told = _role_in(asked)
            arns = [arn]
        return all(policy.permits(self.holds, permission, arn, told) for arn in arns)

    def _refuse_other_owner(self, request: Request) -> None:
        """Raise what S3 says when a bucket is of another account than a call expects."""
        bucket, expected = request.parameters["Bucket"], request.expected_owner
        if not expected:
            self.unguarded.append((request.call, bucket))
        elif expected != self.owners.get(bucket, ACCOUNT):
            raise Refusal("AccessDenied", "Access Denied", 403)

    def _find_mistake(self, request: Request, backend: RedshiftBackend) -> str:
        """Return the code with which AWS refuses what moto takes; '' when it takes it too."""
        asked, clusters = request.parameters, backend.clusters
        state = getattr(clusters.get(asked.get("ClusterIdentifier")), "status", "")
        boundary, family = asked.get("PermissionsBoundary"), asked.get("ParameterGroupFamily")
        group = asked.get("ClusterParameterGroupName") or asked.get("ParameterGroupName")
        subnets = asked.get("ClusterSubnetGroupName")
        arns = {role.arn for role in iam_backends[ACCOUNT]["aws"].roles.values()}
        own = {arn for arn in request.starting("IamRoles.IamRoleArn") if f":{ACCOUNT}:" in arn}
        deletes_busy = state and state not in ("available", "paused", "storage-full")
        used = {name for one in clusters.values() for name in one.cluster_parameter_group_name}
        placed = {one.cluster_subnet_group_name for one in clusters.values()}
        mistakes = {
            "CreateRole": [(boundary and boundary not in self.boundaries, "NoSuchEntity")],
            "CreateCluster": [
                (asked.get("NodeType") not in NODE_TYPES, "InvalidParameterValue"),
                ("ManageMasterPassword" not in asked, "InvalidParameterCombination"),
                (group not in backend.parameter_groups, "ClusterParameterGroupNotFound"),
                (
                    subnets and subnets not in backend.subnet_groups,
                    "ClusterSubnetGroupNotFoundFault",
                ),
                (own - arns, "InvalidParameterValue"),
            ],
            "DeleteCluster": [(deletes_busy, "InvalidClusterState")],
            "ResumeCluster": [(state not in ("", "paused"), "InvalidClusterState")],
            "CreateClusterParameterGroup": [
                (family != "redshift-2.0", "InvalidParameterValue"),
                (group in backend.parameter_groups, "ClusterParameterGroupAlreadyExists"),
            ],
            "CreateClusterSubnetGroup": [
                (subnets in backend.subnet_groups, "ClusterSubnetGroupAlreadyExists")
            ],
            "DeleteClusterParameterGroup": [(group in used, "InvalidClusterParameterGroupState")],
            "DeleteClusterSubnetGroup": [
                (subnets in placed, "InvalidClusterSubnetGroupStateFault")
            ],
        }
        mistakes["PutRolePermissionsBoundary"] = mistakes["CreateRole"]
        return next((code for wrong, code in mistakes.get(request.action, ()) if wrong), "")

    def _refuse_used_group(self, request: Request, backend: RedshiftBackend) -> None:
        """Raise what EC2 says of a security group that a cluster uses, or has used just now."""
        group = request.parameters["GroupId"]
        in_use = [one for one in backend.clusters.values() if group in one.vpc_security_group_ids]
        if in_use or self.looks.get(group, 0) > 0:  # its network goes some time after the cluster
            self.looks[group] = self.looks.get(group, 0) - (not in_use)
            raise Refusal("DependencyViolation", f"resource {group} has a dependent object")

    def _carry_out(self, request: Request) -> tuple[str, list, bytes]:
        if request.service == "pricing":
            return self._price_list(request)
        tags = request.call == "s3:CreateBucket" and request.body()
        answered: list = []
        service = self._moto(request.service)
        chunks = service(request.environ, lambda *answer: answered.append(answer))
        body = b"".join(chunks)
        getattr(chunks, "close", lambda: None)()
        status, headers = answered[0][:2]
        if tags and status.startswith("200"):
            self._tag(request.parameters["Bucket"], tags)
        if request.call == "sts:GetCallerIdentity":
            kind = "sts" if "role/" in self.caller else "iam"
            arn = f"<Arn>arn:aws:{kind}::{self._account()}:{self.caller}</Arn>"
            body = re.sub(rb"<Arn>.*</Arn>", arn.encode(), body)
            body = body.replace(ACCOUNT.encode(), self._account().encode())
            headers = [("Content-Type", "text/xml")]
        return status, headers, body

    def _account(self) -> str:
        number, other = self.account_from or (0, ACCOUNT)
        return other if len(self.calls) >= number else ACCOUNT

    def _tag(self, bucket: str, configuration: bytes) -> None:
        """Give a new bucket the tags that its creation asked for."""
        root = ElementTree.fromstring(configuration)
        tags = {tag[0].text: tag[1].text for tag in root.iter() if tag.tag.endswith("}Tag")}
        if tags:
            s3_backends[ACCOUNT]["aws"].put_bucket_tagging(bucket, tags)

    def _price_list(self, request: Request) -> tuple[str, list, bytes]:
        if self.price is None:
            raise denied(request, "pricing:GetProducts")
        amount = {"unit": "Hrs", "pricePerUnit": {"USD": f"{self.price:.10f}"}}
        terms = {"OnDemand": {"a.b": {"priceDimensions": {"a.b.c": amount}}}}
        body = json.dumps({"FormatVersion": "aws_v1", "PriceList": [json.dumps({"terms": terms})]})
        return "200 OK", [("Content-Type", "application/x-amz-json-1.1")], body.encode()

    def _patches(self):
        """Yield what moto's Redshift lacks or makes too easy."""
        aws = self

        def endpoint(cluster: Cluster) -> dict | None:
            host, port = aws.endpoint or (cluster.address, cluster.port)
            return None if cluster.status == "creating" else {"Address": host, "Port": port}

        describe_clusters = RedshiftBackend.describe_clusters
        delete_cluster = RedshiftBackend.delete_cluster

        def looked_at(backend, cluster_identifier=None, tag_keys=None):
            for name, cluster in list(backend.clusters.items()):
                if cluster_identifier not in (None, "", name):
                    continue
                aws.looks[name] = aws.looks.get(name, 0) - 1
                if aws.looks[name] < 0 and cluster.status == "deleting":
                    cluster.status = "available"  # moto looks again while it takes a snapshot
                    delete_cluster(backend, **cluster.how)
                    for group in cluster.vpc_security_group_ids:
                        aws.looks[group] = 1
                elif aws.looks[name] < 0 and cluster.status in PASSING:
                    cluster.status = PASSING[cluster.status]
            return describe_clusters(backend, cluster_identifier, tag_keys)

        def deleted(backend, **how):
            cluster = backend.clusters.get(how["cluster_identifier"])
            if not cluster:
                raise ClusterNotFoundError(how["cluster_identifier"])
            cluster.status, cluster.how = "deleting", how
            aws.looks[cluster.cluster_identifier] = aws.deleting
            return cluster

        def becoming(state: str, looks: Callable[[], int], original: Callable):
            def changed(response):
                answer = original(response)
                name = response._get_param("ClusterIdentifier")
                cluster = response.redshift_backend.clusters[name]
                cluster.status, aws.looks[name] = state, looks()
                return answer

            return changed

        def created(response):
            answer = RedshiftResponse_create(response)
            backend, region = response.redshift_backend, response.region
            cluster = backend.clusters[response._get_param("ClusterIdentifier")]
            groups = cluster.vpc_security_groups
            cluster.vpc_id = groups[0].vpc_id if groups else None
            if response._get_bool_param("ManageMasterPassword"):
                name = f"redshift!{cluster.cluster_identifier}-{cluster.master_username}"
                where = f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{name}"
                cluster.master_password_secret_arn = where
            return answer

        RedshiftResponse_create = RedshiftResponse.create_cluster  # noqa: N806
        yield moto.core.responses, "method_names_from_class", cache(method_names_from_class)
        yield Cluster, "endpoint", property(endpoint)
        yield RedshiftBackend, "describe_clusters", looked_at
        yield RedshiftBackend, "delete_cluster", deleted
        yield (
            RedshiftResponse,
            "create_cluster",
            becoming("creating", lambda: aws.creating, created),
        )
        for state, name in CHANGES.items():
            original = getattr(RedshiftResponse, name, attach_roles)
            yield RedshiftResponse, name, becoming(state, lambda: aws.changing, original)
        yield RedshiftResponse, "modify_cluster_iam_roles", attach_roles
        yield RedshiftResponse, "modify_cluster_parameter_group", modify_parameters
        yield from scheduler.PATCHES
        described = RedshiftBackend.describe_cluster_parameters
        yield RedshiftBackend, "describe_cluster_parameters", parameters_of(described)

        permission = FakeBucket.get_permission

        def over_tls(bucket, action, resource):  # plain HTTP stands for TLS here
            own = json.loads(bucket.policy or "{}").get("Statement", [])
            if own and all("aws:SecureTransport" in str(one.get("Condition")) for one in own):
                return PermissionResult.NEUTRAL
            return permission(bucket, action, resource)

        yield FakeBucket, "get_permission", over_tls
        get_credentials = RedshiftResponse.get_cluster_credentials

        def issue(response):
            answer = get_credentials(response)
            given = answer.result
            aws.issued[given["DbPassword"]] = (given["DbUser"], response._get_param("DbName") or "")
            return answer

        yield RedshiftResponse, "get_cluster_credentials", issue


CHANGES = {"resuming": "resume_cluster", "pausing": "pause_cluster", "modifying": "modify_cluster"}
PASSING = {
    "creating": "available",
    "resuming": "available",
    "modifying": "available",
    "rebooting": "available",
    "pausing": "paused",
}


def stores() -> list[dict]:
    """Return where moto keeps the roles, and all else that an account has of its own."""
    redshift, s3 = redshift_backends[ACCOUNT]["us-west-2"], s3_backends[ACCOUNT]["aws"]
    kept = [iam_backends[ACCOUNT]["aws"].roles, redshift.clusters, redshift.parameter_groups]
    kept += [redshift.snapshots, s3.buckets, s3_backends.bucket_accounts]
    kept += [scheduler.actions_of(redshift)]
    return [*kept, *ec2_backends[ACCOUNT]["us-west-2"].groups.values()]


class Silent(MotoRequestHandler):
    """Answers without a line in the log."""

    def log(self, *_) -> None:
        pass


def denied(request: Request, permission: str) -> Refusal:
    """Return AWS's words for an action that no policy allows."""
    name = next((v for k, v in request.parameters.items() if k.endswith(("Name", "Bucket"))), "*")
    why = f"because no identity-based policy allows the {permission} action"
    words = f"User: {USER} is not authorized to perform: {permission} on resource: {name} {why}"
    if request.service == "ec2":
        words = f"You are not authorized to perform this operation. {words}"
        return Refusal("UnauthorizedOperation", words, 403)
    json_service = request.service == "pricing"
    return Refusal("AccessDeniedException" if json_service else "AccessDenied", words, 403)


def _role_in(asked: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the ARN of the role that a call is about, and what conditions can ask about it."""
    roles = iam_backends[ACCOUNT]["aws"].roles.values()
    role = next((role for role in roles if role.name == asked["RoleName"]), None)
    path = asked.get("Path", "/")
    arn = role.arn if role else f"arn:aws:iam::{ACCOUNT}:role{path}{asked['RoleName']}"
    boundary = asked.get("PermissionsBoundary") or (role and role.permissions_boundary_arn)
    told = {"iam:PermissionsBoundary": boundary} if boundary else {}
    for number in range(1, 50):
        if key := asked.get(f"Tags.member.{number}.Key"):
            told[f"aws:RequestTag/{key}"] = asked[f"Tags.member.{number}.Value"]
    told |= {f"aws:ResourceTag/{tag['Key']}": tag["Value"] for tag in (role.tags if role else ())}
    return arn, told


def attach_roles(response) -> ActionResult:
    """ModifyClusterIamRoles."""
    cluster = response.redshift_backend.clusters[response._get_param("ClusterIdentifier")]
    cluster.iam_roles_arn = [*cluster.iam_roles_arn, *response._get_param("AddIamRoles", [])]
    return ActionResult({"Cluster": cluster})


def modify_parameters(response) -> ActionResult:
    """ModifyClusterParameterGroup."""
    name = response._get_param("ParameterGroupName")
    group = response.redshift_backend.describe_cluster_parameter_groups(name)[0]
    changed = {
        one["ParameterName"]: one["ParameterValue"] for one in response._get_param("Parameters", [])
    }
    group.own = getattr(group, "own", {}) | changed
    return ActionResult({"ParameterGroupName": name, "ParameterGroupStatus": "Updated."})


def parameters_of(original: Callable) -> Callable:
    """DescribeClusterParameters with what was modified."""

    def describe(backend, parameter_group_name):
        own = getattr(backend.parameter_groups.get(parameter_group_name), "own", {})
        return [
            one | {"ParameterValue": own.get(one["ParameterName"], one["ParameterValue"])}
            for one in original(backend, parameter_group_name)
        ]

    return describe
