import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';

/**
 * Asks `mayAsk` before anything looks at a request: hooks of the framework come too late for a path that it cannot read, and Node
 * answers an `Expect` by itself. Who may not is cut off without a byte. What else somebody expects is passed over, as RFC 9110, 10.1.1, allows.
 */
export function keepDoor(server: Server, mayAsk: (request: IncomingMessage) => boolean): void {
  const handlers = server.listeners('request') as RequestListener[];
  const enter = (request: IncomingMessage, response: ServerResponse, welcome?: () => void): void => {
    if (!mayAsk(request)) {
      request.socket.destroy();
      return;
    }
    welcome?.();
    for (const handle of handlers) handle(request, response);
  };
  server.removeAllListeners('request').on('request', (request: IncomingMessage, response: ServerResponse) => {
    enter(request, response);
  });
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    enter(request, response, () => { response.writeContinue(); });
  });
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    enter(request, response);
  });
}
