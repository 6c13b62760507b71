# The worker image: stepgraph with its locked dependencies, and the example graphs.

# The newest Python that pyproject.toml names, pinned to an exact release.
FROM python:3.13.15-slim-trixie AS base

FROM base AS build
WORKDIR /src
# Without pip, because the environment is copied into the final image and nothing is installed there.
RUN python -m venv --without-pip /opt/stepgraph
# The dependencies come before the source, so that a code change does not invalidate their layer.
COPY requirements/ requirements/
RUN pip --python /opt/stepgraph/bin/python install --no-cache-dir \
    --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY stepgraph/ stepgraph/
COPY workflows/ workflows/
COPY activities/ activities/
COPY examples/ examples/
# dev.lock pins the build backend by hash. Nothing else of that file is installed.
RUN pip --python /opt/stepgraph/bin/python install --no-cache-dir \
    --no-deps --build-constraint requirements/dev.lock .

FROM base
RUN useradd --uid 10001 --home-dir /app --no-create-home --shell /usr/sbin/nologin stepgraph
COPY --from=build /opt/stepgraph/ /opt/stepgraph/
WORKDIR /app
COPY examples/ examples/
# PYTHONPATH, because a console script does not search its working directory, which has the graphs.
ENV PATH=/opt/stepgraph/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    STEPGRAPH_LOG_FORMAT=json
# A number, because an orchestrator can see that it is not root. It cannot see that of a name.
USER 10001
CMD ["stepgraph-worker"]
