FROM python:3.11-slim
RUN useradd --create-home altrally
WORKDIR /opt/altrally
COPY requirements.lock .
RUN pip install --no-cache-dir -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && install -d -o altrally /home/altrally/.altrally
USER altrally
VOLUME /home/altrally/.altrally
ENTRYPOINT ["altrally"]
CMD ["--help"]
