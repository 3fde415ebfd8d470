"""From model parameters to a LangChain chat model. Each provider's library is an extra, imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from langchain_core.language_models import BaseChatModel
from pydantic import ValidationError

from agent_service.definition import ModelParameters
from agent_service.errors import EntryPointError
from agent_service.runtimes.react.scripted import ScriptedModel, read_script
from agent_service.runtimes.tools.secrets import Secrets

NO_KEY = "none"
"""A server of one's own asks for no key, but the libraries do."""
OPENAI_URL = "https://api.openai.com/v1"
OLLAMA_URL = "http://127.0.0.1:11434"
GOOGLE_URL = "https://generativelanguage.googleapis.com"
_CLASSES = {
    "openai": ("langchain_openai", "ChatOpenAI"),
    "ollama": ("langchain_ollama", "ChatOllama"),
    "anthropic": ("langchain_anthropic", "ChatAnthropic"),
    "google": ("langchain_google_genai", "ChatGoogleGenerativeAI"),
}


@dataclass(frozen=True)
class Model:
    """A chat model, and how its connections are closed."""

    chat: BaseChatModel
    aclose: Callable[[], Awaitable[None]]


def build_model(parameters: ModelParameters, secrets: Secrets) -> Model:
    """The chat model. Nothing is asked of the provider yet, who may be down.

    Raises `EntryPointError`: the extra is missing, a reference leads nowhere, the script is wrong.
    """
    if parameters.provider == "scripted":
        return Model(_scripted(parameters), _nothing)
    key = secrets.resolved({"api_key": parameters.api_key})["api_key"] if parameters.api_key else None
    make, arguments = _class(parameters.provider), _arguments(parameters, key)
    match parameters.provider:
        case "openai":
            from openai import DefaultAsyncHttpxClient

            # The library's own is shared by the whole process, and closed by nobody.
            client = DefaultAsyncHttpxClient(timeout=parameters.timeout_seconds)
            return Model(make(**arguments, http_async_client=client), client.aclose)
        case "ollama":
            transport = _Transport(parameters.base_url or OLLAMA_URL)
            return Model(make(**arguments, async_client_kwargs={"transport": transport}), transport.aclose)
        case "google":
            # With a transport of ours the library uses httpx also where aiohttp is installed, over which it takes a
            # connection that broke for a refusal.
            transport = _Transport(parameters.base_url or GOOGLE_URL)
            return Model(make(**arguments, client_args={"transport": transport}), transport.aclose)
    return Model(make(**arguments), _nothing)


async def _nothing() -> None:
    """Of the others' connections their libraries take care."""


class _Transport(httpx.AsyncHTTPTransport):
    """Connections that are closed by us, through the proxy that the environment names for `url`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        is_direct = proxy_bypass(parts.hostname or "")
        super().__init__(proxy=None if is_direct else getproxies().get(parts.scheme))

    def close(self) -> None:
        """A library that makes a synchronous client beside the other one may close that: nothing is open in it."""


def _scripted(parameters: ModelParameters) -> ScriptedModel:
    try:
        lines = read_script(parameters.script or [])
    except ValidationError as error:
        wrong = "; ".join(
            f"behavior.model_parameters.script.{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False)
        )
        raise EntryPointError(f"The script of the scripted model is wrong: {wrong}.") from error
    if not lines:
        raise EntryPointError("The script of the scripted model is empty; write at least one answer.")
    return ScriptedModel(lines=lines, model=parameters.model)


def _class(provider: str) -> Any:
    module, name = _CLASSES[provider]
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise EntryPointError(
            f"The provider {provider!r} needs a package that is not installed ({error}); "
            f"install agent-manager[{provider}]."
        ) from error


def _arguments(parameters: ModelParameters, key: str | None) -> dict[str, Any]:
    """What the provider's class is made with; its own retries are off, since `retries.py` has them."""
    common = {"model": parameters.model, "temperature": parameters.temperature}
    timeout = parameters.timeout_seconds
    match parameters.provider:
        case "openai":
            chosen: dict[str, Any] = {
                "base_url": parameters.base_url or OPENAI_URL,
                "api_key": key or NO_KEY,
                "max_tokens": parameters.max_tokens,
                "timeout": timeout,
                "stream_chunk_timeout": timeout,
                "stream_usage": True,
                "use_responses_api": False,
                # Ours below knows of proxies what everything else knows; this one would contradict it.
                "openai_proxy": "",
                "max_retries": 0,
            }
        case "ollama":
            chosen = {
                "base_url": parameters.base_url or OLLAMA_URL,
                "num_predict": parameters.max_tokens,
                # Without a header of ours the library would send a key that it finds in the environment.
                "client_kwargs": {"timeout": timeout, "headers": {"Authorization": f"Bearer {key or NO_KEY}"}},
            }
        case "anthropic":
            chosen = {
                "base_url": parameters.base_url,
                "api_key": key or NO_KEY,
                "max_tokens": parameters.max_tokens,
                "timeout": timeout,
                "max_retries": 0,
            }
        case _:
            chosen = {
                "base_url": parameters.base_url or GOOGLE_URL,
                "google_api_key": key or NO_KEY,
                "vertexai": False,
                "max_output_tokens": parameters.max_tokens,
                "timeout": timeout,
                # Of this one it is the number of tries.
                "max_retries": 1,
            }
    return {name: value for name, value in {**common, **chosen}.items() if value is not None}
