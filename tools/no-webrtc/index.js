// WebTorrent asks this package whether WebRTC is available. Here it never is: peers are reached over TCP and HTTP.
export default undefined;
export const RTCPeerConnection = undefined;
export const RTCSessionDescription = undefined;
export const RTCIceCandidate = undefined;
