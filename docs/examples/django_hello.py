"""Django in one file: no SECURE_PROXY_SSL_HEADER, the scheme is right already.

edgeserver serve django_hello:application --trust 10.0.0.5
"""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for this example alone",
    USE_TZ=True,
)
django.setup()


async def hello(request: HttpRequest) -> JsonResponse:
    """Say who asks, and by which scheme."""
    return JsonResponse({"client": request.META["REMOTE_ADDR"], "scheme": request.scheme})


urlpatterns = [path("", hello)]
application = get_asgi_application()
