"""What the APIs of Google Workspace have in common."""

from grove.connectors.rest import GoogleAuth, RateLimited

# https://developers.google.com/workspace/admin/reports/v1/limits: a quota that is used up may be a 403, too.
RATE_LIMIT = RateLimited(
    statuses=(429,),
    when=(
        "error.errors[?reason == 'rateLimitExceeded' || reason == 'userRateLimitExceeded' || reason == 'quotaExceeded']"
    ),
)


def auth(scope: str) -> GoogleAuth:
    """A service account that acts as `identity`, within one scope."""
    return GoogleAuth(scopes=(f"https://www.googleapis.com/auth/{scope}",))
