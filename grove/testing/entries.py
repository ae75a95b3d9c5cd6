"""Realistic audit entries, made deterministically: the same number always gives the same entry.

Two sizes: about 0.5 KB, flat, with an integer pointer under `@timestamp` (like GitHub's audit log), and about 1.9 KB,
nested, not all ASCII, with a text pointer under `published` (like Okta's system log). A page of 1,000 compresses five
to eight times at gzip level 9, as real ones do.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["EPOCH_MS", "github_entries", "github_entry", "okta_entries", "okta_entry"]

EPOCH_MS = 1_741_083_072_000
"""When entry 0 happened, in milliseconds since 1970."""

_FIRST = ("Ada", "Zoë", "Jürgen", "Mária", "Søren", "Noor", "Łukasz", "Inês", "Kofi", "Yuki", "Émile", "Priya")
_LAST = ("Lovelace", "Müller", "García", "Nguyễn", "Ångström", "Okafor", "Šimić", "Tanaka", "O'Brien", "Dvořák")
_ACTIONS = (
    "repo.create",
    "repo.access",
    "git.clone",
    "git.push",
    "org.add_member",
    "team.add_repository",
    "protected_branch.update_admin_enforced",
    "workflows.completed_workflow_run",
    "personal_access_token.access_granted",
)
_EVENTS = (
    ("user.session.start", "User login to Okta", "INFO"),
    ("user.authentication.sso", "User single sign on to app", "INFO"),
    ("user.mfa.factor.activate", "Enroll new factor for user", "INFO"),
    ("policy.evaluate_sign_on", "Evaluation of sign-on policy", "INFO"),
    ("user.account.lock", "Max sign-in attempts exceeded", "WARN"),
    ("application.user_membership.add", "Add user to application membership", "INFO"),
)
_CITIES = (("Auckland", "NZ", -36.85, 174.76), ("München", "DE", 48.14, 11.58), ("São Paulo", "BR", -23.55, -46.63))
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1",
    "git/2.47.0",
)


def _hex(chance: random.Random, digits: int) -> str:
    return f"{chance.getrandbits(digits * 4):0{digits}x}"


def github_entry(number: int) -> dict[str, Any]:
    """Entry `number`, about 0.5 KB; its pointer grows with the number."""
    chance = random.Random(number)
    moment = EPOCH_MS + number * 137
    actor = f"{chance.choice(_FIRST).lower()}-{chance.randrange(400)}"
    repository = f"example/service-{chance.randrange(300)}"
    return {
        "@timestamp": moment,
        "_document_id": _hex(chance, 22),
        "action": chance.choice(_ACTIONS),
        "actor": actor,
        "actor_id": 100_000 + chance.randrange(400),
        "actor_ip": f"192.0.{chance.randrange(256)}.{chance.randrange(256)}",
        "actor_location": {"country_code": chance.choice(("NZ", "DE", "BR", "US", "JP"))},
        "business": "example-inc",
        "created_at": moment,
        "operation_type": chance.choice(("create", "modify", "access", "remove")),
        "org": "example",
        "org_id": 4242,
        "repo": repository,
        "repo_id": 700_000 + chance.randrange(300),
        "public_repo": chance.random() < 0.1,
        "request_id": f"{_hex(chance, 4)}:{_hex(chance, 6)}:{_hex(chance, 8)}",
        "user_agent": chance.choice(_AGENTS)[: 40 + chance.randrange(30)],
        "visibility": None if chance.random() < 0.2 else "private",
    }


def okta_entry(number: int) -> dict[str, Any]:
    """Entry `number`, about 1.9 KB; its pointer grows with the number."""
    chance = random.Random(number)
    moment = datetime.fromtimestamp(EPOCH_MS / 1000, UTC) + timedelta(milliseconds=number * 211)
    name = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
    login = f"{name.split()[0].lower()}.{chance.randrange(900)}@example.org"
    kind, text, severity = chance.choice(_EVENTS)
    city, country, latitude, longitude = chance.choice(_CITIES)
    address = f"198.51.{chance.randrange(256)}.{chance.randrange(256)}"
    request, session = _hex(chance, 32), f"idx{_hex(chance, 22)}"
    geography = {
        "city": city,
        "country": country,
        "geolocation": {"lat": latitude, "lon": longitude},
        "postalCode": str(10_000 + chance.randrange(80_000)),
        "state": None,
    }
    return {
        "actor": {
            "alternateId": login,
            "detailEntry": None,
            "displayName": name,
            "id": f"00u{_hex(chance, 17)}",
            "type": "User",
        },
        "authenticationContext": {
            "authenticationProvider": None,
            "authenticationStep": 0,
            "credentialProvider": None,
            "externalSessionId": session,
            "interface": None,
            "issuer": None,
        },
        "client": {
            "device": chance.choice(("Computer", "Mobile")),
            "geographicalContext": geography,
            "id": None,
            "ipAddress": address,
            "userAgent": {
                "browser": chance.choice(("CHROME", "SAFARI", "FIREFOX")),
                "os": chance.choice(("Linux", "Mac OS X", "Windows 11")),
                "rawUserAgent": chance.choice(_AGENTS),
            },
            "zone": "null",
        },
        "debugContext": {
            "debugData": {
                "authnRequestId": _hex(chance, 32),
                "authenticatorEnrollmentId": f"pae{_hex(chance, 17)}",
                "behaviors": "{New IP=POSITIVE}",
                "deviceFingerprint": _hex(chance, 32),
                "dtHash": _hex(chance, 48),
                "requestId": request,
                "requestUri": "/idp/idx/identify",
                "risk": "{reasons=Anomalous Location, level=" + chance.choice(("LOW", "MEDIUM", "HIGH")) + "}",
                "traceId": _hex(chance, 32),
                "url": "/idp/idx/identify?",
            }
        },
        "displayMessage": text,
        "eventType": kind,
        "legacyEventType": f"core.{kind}",
        "outcome": {"reason": None, "result": chance.choice(("SUCCESS", "SUCCESS", "FAILURE"))},
        "published": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request": {"ipChain": [{"geographicalContext": geography, "ip": address, "source": None, "version": "V4"}]},
        "securityContext": {
            "asNumber": 64_500 + chance.randrange(10),
            "asOrg": "example telecom",
            "domain": "example.net",
            "isProxy": False,
            "isp": "example telecom",
        },
        "severity": severity,
        "target": [
            {
                "alternateId": "Wiki",
                "detailEntry": {"signOnModeType": "SAML_2_0"},
                "displayName": "Wiki: Überblick",
                "id": f"0oa{_hex(chance, 17)}",
                "type": "AppInstance",
            }
        ],
        "transaction": {"detail": {}, "id": request, "type": "WEB"},
        "uuid": f"{_hex(chance, 8)}-{_hex(chance, 4)}-11f0-{_hex(chance, 4)}-{_hex(chance, 12)}",
        "version": "0",
    }


def github_entries(count: int, start: int = 0) -> list[dict[str, Any]]:
    """`count` small entries from number `start` on, oldest first."""
    return [github_entry(number) for number in range(start, start + count)]


def okta_entries(count: int, start: int = 0) -> list[dict[str, Any]]:
    """`count` large entries from number `start` on, oldest first."""
    return [okta_entry(number) for number in range(start, start + count)]
