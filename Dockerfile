# The worker image: stepgraph with its locked dependencies, and the example graphs.

# An exact tag of the official Python image: the newest Python that pyproject.toml names.
FROM python:3.13.15-slim-trixie AS base

FROM base AS build
WORKDIR /src
# Without pip: the environment is copied into the final image, where nothing is installed any more.
RUN python -m venv --without-pip /opt/stepgraph
# The dependencies come before the source, so that a change of code does not install them again.
COPY requirements/ requirements/
RUN pip --python /opt/stepgraph/bin/python install --no-cache-dir \
    --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY stepgraph/ stepgraph/
COPY workflows/ workflows/
COPY activities/ activities/
# dev.lock holds the build backend to its hashes; of the rest of that file nothing is installed.
RUN pip --python /opt/stepgraph/bin/python install --no-cache-dir \
    --no-deps --build-constraint requirements/dev.lock .

FROM base
RUN useradd --uid 10001 --home-dir /app --no-create-home --shell /usr/sbin/nologin stepgraph
COPY --from=build /opt/stepgraph/ /opt/stepgraph/
WORKDIR /app
COPY examples/ examples/
# PYTHONPATH: a console script does not search its working directory, and the graphs live there.
ENV PATH=/opt/stepgraph/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    STEPGRAPH_LOG_FORMAT=json
# By number, so that an orchestrator can see that it is not root.
USER 10001
CMD ["stepgraph-worker"]
