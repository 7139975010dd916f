import java.net.InetAddress;
import java.net.InetSocketAddress;
import org.apache.beam.runners.fnexecution.artifact.ArtifactRetrievalService;
import org.apache.beam.sdk.expansion.service.ExpansionService;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;

/** Beam's expansion service, which listens on every address when it is started by itself, on loopback alone. */
public final class LoopbackExpansionService {
  /** Serves on a free port and prints it; the arguments are the service's options. */
  public static void main(String[] options) throws Exception {
    Server server =
        NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
            .addService(new ExpansionService(options))
            .addService(new ArtifactRetrievalService())
            .build()
            .start();
    System.out.println("port " + server.getPort());
    server.awaitTermination();
  }
}
